"""Images whose server speaks more than HTTP: built by the command, run without root."""

import io
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import obstore
import polars as pl
import pytest
from tests.cli.running import until
from tests.packaging import made
from tests.packaging.test_build import ROW, config_of, container, posted
from tests.ports import free_port
from tests.s3_server import S3Server
from tests.serve.test_tracing import Collector

from setpoint.artifacts.contract import ObjectStore
from setpoint.cli.main import run
from setpoint.config import AWS_VARIABLES
from setpoint.db.local import LocalBackend
from setpoint.models.entities import ModelVersion
from setpoint.models.runtime import load
from setpoint.packaging.extras import EXTRAS, Extra
from setpoint.serve.grpc import open_inference

V2 = open_inference._m


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


@pytest.fixture(scope="module")
def layout(
    house: LocalBackend, late: ModelVersion, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An image with all there is besides."""
    made.needs("apt-get", "dpkg-deb", "umoci")
    layout = tmp_path_factory.mktemp("extras") / "image"
    words = ["build", "late", "--home", str(house.settings.home), "--to", str(layout)]
    assert run([*words, *(word for name in EXTRAS for word in ("--with", name))]) == 0
    return layout


@pytest.fixture(scope="module")
def rootfs(layout: Path) -> Path:
    bundle = layout.with_name("bundle")
    unpack = ["umoci", "unpack", "--rootless", "--image", f"{layout}:1", str(bundle)]
    subprocess.run(unpack, check=True, capture_output=True)
    return bundle / "rootfs"


@pytest.fixture(scope="module")
def expected(late: ModelVersion, objects: ObjectStore) -> list[float]:
    scores: list[float] = load(objects, late).predict(pl.DataFrame(ROW).to_numpy()).tolist()
    return scores


def test_an_image_speaks_grpc_tells_of_its_requests_and_reads_parquet(
    rootfs: Path, layout: Path, expected: list[float], collector: Collector
) -> None:
    at = free_port()
    told = {
        "SETPOINT_SERVE_GRPC_PORT": str(at),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with container(rootfs, layout, **told) as (url, _):
        assert _infer(f"127.0.0.1:{at}") == expected
        table = io.BytesIO()
        pl.DataFrame(ROW).write_parquet(table)
        body = posted(f"{url}/invocations", table.getvalue(), "application/x-parquet")
        assert json.loads(body)["predictions"] == expected
        spans = {one.name: one.attributes for one in collector.await_spans(4)}
    assert any("rpc.method" in attributes for attributes in spans.values()), spans
    assert any("http.route" in attributes for attributes in spans.values()), spans
    config = config_of(layout)["config"]
    assert config["ExposedPorts"] == {"8080/tcp": {}, "8081/tcp": {}}
    assert "SETPOINT_SERVE_GRPC_PORT=8081" in config["Env"]


def test_an_image_takes_asynchronous_invocations(
    rootfs: Path, layout: Path, expected: list[float], s3: S3Server
) -> None:
    where = s3.make()
    bucket = s3.bucket(where.removeprefix("s3://"))
    obstore.put(bucket, "in.csv", pl.DataFrame(ROW).write_csv().encode())
    given = {
        "SETPOINT_SERVE_JOBS": "/tmp/jobs",  # noqa: S108 - the container's
        "SETPOINT_SERVE_ASYNC_OUTPUT": f"{where}/out",
        "SETPOINT_SERVE_GRPC_PORT": str(free_port()),
    }
    given |= {AWS_VARIABLES[name][0]: value for name, value in s3.aws.given().items()}
    with container(rootfs, layout, **given) as (url, _):
        asked = urllib.request.Request(  # noqa: S310 - loopback
            f"{url}/endpoints/late/async-invocations",
            b"",
            {
                "X-Amzn-SageMaker-InputLocation": f"{where}/in.csv",
                "X-Amzn-SageMaker-Content-Type": "text/csv",
            },
        )
        with urllib.request.urlopen(asked, timeout=20) as reply:  # noqa: S310
            key = reply.headers["X-Amzn-SageMaker-OutputLocation"].removeprefix(f"{where}/")
        until(lambda: _answer(bucket, key) is not None, "the answer is in S3")
    assert json.loads(_answer(bucket, key) or b"")["predictions"] == expected


def _answer(bucket: Any, key: str) -> bytes | None:
    try:
        return bytes(obstore.get(bucket, key).bytes())
    except FileNotFoundError:
        return None


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
    absent = Extra((), ("no-such-thing",))
    monkeypatch.setitem(EXTRAS, "grpc", absent)
    words = ["build", "late", "--home", str(house.settings.home), "--base", f"oci:{base}"]
    assert run([*words, "--to", str(tmp_path / "out"), "--with", "grpc"]) == 2
    said = capsys.readouterr().err
    assert "an image with grpc needs no-such-thing, which is not installed here" in said
    assert "pip install no-such-thing" in said
    assert not (tmp_path / "out").exists()
