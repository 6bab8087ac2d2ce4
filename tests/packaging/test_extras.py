"""Images whose server speaks more than HTTP: built by the command, run without root."""

import io
import json
import subprocess
from pathlib import Path

import grpc
import polars as pl
import pytest
from tests.packaging import made
from tests.packaging.test_build import ROW, config_of, container, posted
from tests.ports import free_port
from tests.serve.test_tracing import Collector

from setpoint.artifacts.contract import ObjectStore
from setpoint.cli.main import run
from setpoint.db.local import LocalBackend
from setpoint.models.entities import ModelVersion
from setpoint.models.runtime import load
from setpoint.packaging import dependencies
from setpoint.serve.grpc import open_inference

V2 = open_inference._m


@pytest.fixture
def collector() -> Collector:
    return Collector()


def test_an_image_speaks_grpc_tells_of_its_requests_and_reads_parquet(
    house: LocalBackend,
    late: ModelVersion,
    objects: ObjectStore,
    collector: Collector,
    tmp_path: Path,
) -> None:
    made.needs("apt-get", "dpkg-deb", "umoci")
    layout, at = tmp_path / "image", free_port()
    words = ["build", "late", "--home", str(house.settings.home), "--to", str(layout)]
    assert run([*words, "--with", "parquet", "--with", "otel", "--with", "grpc"]) == 0
    unpack = ["umoci", "unpack", "--rootless", "--image", f"{layout}:1", str(tmp_path / "bundle")]
    subprocess.run(unpack, check=True, capture_output=True)
    told = {
        "SETPOINT_SERVE_GRPC_PORT": str(at),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    expected = load(objects, late).predict(pl.DataFrame(ROW).to_numpy()).tolist()
    try:
        with container(tmp_path / "bundle" / "rootfs", layout, **told) as (url, _):
            assert _infer(f"127.0.0.1:{at}") == expected
            table = io.BytesIO()
            pl.DataFrame(ROW).write_parquet(table)
            body = posted(f"{url}/invocations", table.getvalue(), "application/x-parquet")
            assert json.loads(body)["predictions"] == expected
            spans = {one.name: one.attributes for one in collector.await_spans(4)}
    finally:
        collector.close()
    assert any("rpc.method" in attributes for attributes in spans.values()), spans
    assert any("http.route" in attributes for attributes in spans.values()), spans
    config = config_of(layout)["config"]
    assert config["ExposedPorts"] == {"8080/tcp": {}, "8081/tcp": {}}
    assert "SETPOINT_SERVE_GRPC_PORT=8081" in config["Env"]


def _infer(address: str) -> list[float]:
    tensors = [
        V2.Tensor(name=name, datatype="FP64", shape=[2], contents=V2.Contents(fp64_contents=column))
        for name, column in ROW.items()
    ]
    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=V2.Infer.SerializeToString,
            response_deserializer=V2.Inferred.FromString,
        )
        asked = V2.Infer(model_name="late", inputs=tensors)
        answer = infer(asked, timeout=20, wait_for_ready=True)
    return list(answer.outputs[0].contents.fp64_contents)


def test_an_extra_that_is_not_installed_is_one_clear_error(
    house: LocalBackend,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    base: Path,
    tmp_path: Path,
) -> None:
    absent = dependencies.Extra((), ("no-such-thing",))
    monkeypatch.setitem(dependencies.EXTRAS, "grpc", absent)
    words = ["build", "late", "--home", str(house.settings.home), "--base", f"oci:{base}"]
    assert run([*words, "--to", str(tmp_path / "out"), "--with", "grpc"]) == 2
    said = capsys.readouterr().err
    assert "an image with grpc needs no-such-thing, which is not installed here" in said
    assert "pip install no-such-thing" in said
    assert not (tmp_path / "out").exists()
