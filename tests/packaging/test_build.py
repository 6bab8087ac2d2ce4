"""Whole images, of this machine's Debian packages: built, unpacked by umoci, run without root."""

import json
import os
import resource
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from markupsafe import escape
from sklearn.linear_model import LinearRegression
from tests.cli.running import ROOT, until
from tests.packaging import made
from tests.ports import free_port

from setpoint.artifacts.contract import ObjectStore
from setpoint.cli.main import run
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid
from setpoint.models import adding, service
from setpoint.models.entities import Gate, ModelVersion
from setpoint.models.flavors import pickles
from setpoint.models.runtime import load
from setpoint.packaging import images
from setpoint.packaging.build import Wanted, build
from setpoint.packaging.debian import PYTHON
from setpoint.packaging.entities import Built
from setpoint.packaging.references import Archive, Folder
from setpoint.serve import store as serving
from setpoint.serve.client import Inference
from setpoint.serve.entities import EndpointSettings
from setpoint.serve.log import read

ROW = {"distance": [0.5, -1.5], "gusts": [1.0, 0.25]}


def silent(what: str) -> None:
    """Hear what a build tells, and keep it to oneself."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images") / "late"


@pytest.fixture(scope="module")
def built(house: LocalBackend, late: ModelVersion, objects: ObjectStore, layout: Path) -> Built:
    made.needs("apt-get", "dpkg-deb")
    wanted = Wanted(to=Folder(layout), sbom=layout.with_suffix(".json"))
    return build(late, objects, house.settings.home, wanted, silent)


@pytest.fixture(scope="module")
def rootfs(built: Built, layout: Path) -> Path:
    """What a container of the image has as its root."""
    made.needs("umoci")
    bundle = layout.with_name("bundle")
    words = ["umoci", "unpack", "--rootless", "--image", f"{layout}:{built.version}", str(bundle)]
    subprocess.run(words, check=True, capture_output=True)
    return bundle / "rootfs"


def config_of(layout: Path) -> Any:
    index = json.loads((layout / "index.json").read_bytes())
    manifest = blob(layout, index["manifests"][0]["digest"])
    return blob(layout, manifest["config"]["digest"])


def blob(layout: Path, digest: str) -> Any:
    return json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())


@contextmanager
def container(rootfs: Path, layout: Path, *words: str, **env: str) -> Iterator[tuple[str, Any]]:
    """Run the image as its configuration says: read-only, as its user, ``/tmp`` apart."""
    made.needs("bwrap")
    config = config_of(layout)["config"]
    port = free_port()
    given = dict(each.split("=", 1) for each in config["Env"])
    given |= {"SETPOINT_SERVE_PORT": str(port), **env}
    user, group = config["User"].split(":")
    command = ["bwrap", "--ro-bind", str(rootfs), "/", "--dev", "/dev", "--proc", "/proc"]
    command += ["--tmpfs", "/tmp", "--unshare-user", "--uid", user, "--gid", group]  # noqa: S108
    command += ["--die-with-parent", "--clearenv", *words]
    for name, value in given.items():
        command += ["--setenv", name, value]
    command += [*config["Entrypoint"], "serve"]  # the word that SageMaker adds
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: process.poll() is not None or pinged(url), "the image answers /ping")
            assert process.poll() is None, process.communicate()[1]
            yield url, process
        finally:
            process.kill()


def pinged(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def test_an_image_answers_as_the_version_does_here(
    rootfs: Path, layout: Path, late: ModelVersion, objects: ObjectStore
) -> None:
    with container(rootfs, layout) as (url, process):
        client = Inference(url)
        answer = client.predict("late", ROW)
        client.close()
        psutil.Process(process.pid).children()[0].terminate()  # what a runtime does to the first
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 0
    expected = load(objects, late).predict(np.array([*zip(*ROW.values(), strict=True)]))
    assert answer.scores == expected.tolist()
    assert answer.versions == [1, 1]
    assert "there is no authentication" in said
    assert "no prediction log" in said
    assert len(said.splitlines()) == 2, said  # ONNX Runtime has nothing to tell anybody


def test_an_image_answers_sagemaker_and_mlflow_explains_and_reads_no_parquet(
    rootfs: Path, layout: Path
) -> None:
    with container(rootfs, layout) as (url, _):
        body = b"distance,gusts\n1.0,0.0\n"
        told = json.loads(posted(f"{url}/invocations", body, "text/csv"))
        assert len(told["predictions"]) == 1
        rows = b'{"instances": [{"distance": 1.0, "gusts": 0.0}]}'
        again = json.loads(posted(f"{url}/v1/models/late:predict", rows, "application/json"))
        assert again == told
        split = json.loads(posted(f"{url}/v1/models/late:explain", rows, "application/json"))
        (one,) = split["explanations"]
        assert one["method"] == "exact: trees"  # read without a package for ONNX
        total = one["base_value"] + sum(one["shap_values"].values())
        assert total == pytest.approx(told["predictions"][0], abs=1e-9)
        with pytest.raises(urllib.error.HTTPError) as refused:
            posted(f"{url}/invocations", b"PAR1", "application/x-parquet")
        assert refused.value.code == 400
        assert "does not read Parquet" in refused.value.read().decode()


def posted(url: str, body: bytes, kind: str) -> bytes:
    asked = urllib.request.Request(url, body, {"content-type": kind})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310
        found: bytes = answer.read()
        return found


def test_an_image_keeps_no_labels_and_says_so(rootfs: Path, layout: Path) -> None:
    with container(rootfs, layout) as (url, _):
        body = json.dumps({"ids": ["a"], "labels": [1]}).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/v2/models/late/labels", body, timeout=5)  # noqa: S310
        assert refused.value.code == 409
        assert b"SETPOINT_SERVE_LOG" in refused.value.read()


def test_an_image_logs_where_it_is_given_a_folder(
    rootfs: Path, layout: Path, tmp_path: Path
) -> None:
    bound = ("--bind", str(tmp_path), "/tmp/log")  # noqa: S108
    with container(rootfs, layout, *bound, SETPOINT_SERVE_LOG="/tmp/log") as (url, _):  # noqa: S108
        client = Inference(url)
        ids = client.predict("late", ROW).ids
        client.label("late", ids, [1.0, 0.0])
        client.close()
    predicted, labelled = (record for _, record in read(tmp_path))
    assert predicted.ids == labelled.ids == ids


def test_an_image_says_what_it_is(built: Built, layout: Path, late: ModelVersion) -> None:
    config = config_of(layout)
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "late"
    assert labels["org.opencontainers.image.version"] == "1"
    assert labels["org.opencontainers.image.created"] == "2026-01-01T12:00:00Z"
    assert labels["setpoint.model.digest"] == late.onnx
    assert labels["setpoint.run"] == "run of late"
    assert config["config"]["User"] == "65532:65532"
    assert config["created"] == "2026-01-01T12:00:00Z"
    assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 4
    assert built.tags == ["1"]


def test_an_image_is_small(built: Built) -> None:
    assert sum(built.layers.values()) < built.size < 90_000_000, built.layers
    assert built.layers["server"] + built.layers["model"] < 1_000_000


def test_an_image_has_no_shell_and_none_of_what_trains(rootfs: Path) -> None:
    packages = {path.name for path in (rootfs / "opt/setpoint/packages").iterdir()}
    assert packages.isdisjoint({"sklearn", "scipy", "polars", "pandas", "sqlalchemy", "pip"})
    assert sorted(path.name for path in (rootfs / "usr/bin").iterdir()) == ["python3", PYTHON]


def test_the_same_version_is_the_same_image_from_anywhere(
    built: Built, late: ModelVersion, objects: ObjectStore, tmp_path: Path
) -> None:
    wanted = Wanted(to=Archive(tmp_path / "out" / "again.tar"), tags=["other"])
    again = build(late, objects, tmp_path / "another home", wanted, silent)
    assert again.digest == built.digest
    with tarfile.open(tmp_path / "out" / "again.tar") as tar:
        assert f"blobs/{built.digest.replace(':', '/')}" in tar.getnames()


def test_the_bill_is_valid_and_names_every_layer_s_parts(
    built: Built, layout: Path, rootfs: Path
) -> None:
    said = layout.with_suffix(".json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(said) is None
    assert (rootfs / "opt/setpoint/sbom.cdx.json").read_text() == said
    bill = json.loads(said)
    kinds = {part["name"]: part["type"] for part in bill["components"]}
    assert kinds["late"] == "machine-learning-model"
    assert kinds["onnxruntime"] == kinds["libc6"] == "library"
    debian = [part for part in bill["components"] if part.get("purl", "").startswith("pkg:deb/")]
    assert all(len(part["hashes"][0]["content"]) == 64 for part in debian), "apt knows them"
    status = {path.name for path in (rootfs / "var/lib/dpkg/status.d").iterdir()}
    assert {part["name"] for part in debian} == status


def test_another_version_shares_what_is_the_same(
    house: LocalBackend, built: Built, objects: ObjectStore, tmp_path: Path
) -> None:
    other = made.registered(house, "line", made.line())
    told: list[str] = []
    home = house.settings.home
    second = build(other, objects, home, Wanted(to=Folder(tmp_path / "line")), told.append)
    assert second.digest != built.digest
    assert not any("packing" in each or "downloading" in each for each in told), told
    shared = {path.name for path in (tmp_path / "line/blobs/sha256").iterdir()}
    kept = {path.name for path in (home / "images/blobs/sha256").iterdir()}
    assert len(shared & kept) == 2


def test_a_linear_version_answers_without_onnx(
    house: LocalBackend, objects: ObjectStore, tmp_path: Path, built: Built
) -> None:
    made.needs("umoci")
    other = made.registered(house, "straight", made.line())
    build(other, objects, house.settings.home, Wanted(to=Folder(tmp_path / "image")), silent)
    words = ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/image:1"]
    subprocess.run([*words, str(tmp_path / "bundle")], check=True, capture_output=True)
    with container(tmp_path / "bundle" / "rootfs", tmp_path / "image") as (url, _):
        client = Inference(url)
        scores = client.predict("straight", ROW).scores
        client.close()
    expected = load(objects, other).predict(np.array([*zip(*ROW.values(), strict=True)]))
    assert scores == pytest.approx(expected.tolist(), rel=1e-12)


def test_an_image_answers_by_the_fallback_function_of_its_spec_where_the_version_fails(
    house: LocalBackend, objects: ObjectStore, tmp_path: Path, built: Built
) -> None:
    made.needs("umoci")
    steep = LinearRegression().fit(made.ROWS.to_numpy(), made.ROWS.to_numpy() @ [3.0, 5.0])
    held = adding.stored(objects, steep, made.ROWS, kind="regression")
    house.call(service.register, adding.registration("steep", held))
    function = objects.put(pickles.dump(lambda _: float(len(escape("<")))))
    configured = EndpointSettings(fallback_code=function, fallback_source="project:usual")
    with house.engine.begin() as conn:
        serving.configure(conn, "steep", configured)
    words = ["build", "steep:1", "--home", str(house.settings.home), "--to", f"{tmp_path}/image"]
    assert run(words) == 0
    unpack = ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/image:1"]
    subprocess.run([*unpack, str(tmp_path / "bundle")], check=True, capture_output=True)
    with container(tmp_path / "bundle" / "rootfs", tmp_path / "image") as (url, _):
        client = Inference(url)
        assert client.predict("steep", ROW).scores == pytest.approx([6.5, -3.25])
        stood_in = client.predict("steep", {"distance": [1e308], "gusts": [1e308]})  # infinite
        client.close()
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as told:  # noqa: S310 - loopback
            assert b'setpoint_fallback_rows_total{model="steep"} 1' in told.read()
    assert stood_in.scores == [4.0], "by a package that only the function needs"


def test_a_version_that_may_not_serve_is_not_packed(house: LocalBackend) -> None:
    failed = made.registered(house, "bad", made.tree(), gate=Gate(checks=[], passed=False))
    with pytest.raises(Conflict, match="gate has not passed"):
        images.check(failed)
    guest = msgspec.structs.replace(failed, flavor="", source="s3://bucket/m")
    with pytest.raises(Invalid, match="registered from elsewhere"):
        images.check(guest)


@pytest.mark.parametrize(
    ("python", "config", "says"),
    [
        ("python3.99", {}, r"has python3\.99, the packages here are for Python 3\."),
        ("python", {}, "has no Python"),
        (PYTHON, {"architecture": "riscv64"}, "is for riscv64"),
        (PYTHON, {"rootfs": {"diff_ids": []}}, "its layers and its configuration differ"),
    ],
)
def test_a_base_that_does_not_fit_is_one_clear_error(
    python: str,
    config: dict[str, Any],
    says: str,
    late: ModelVersion,
    objects: ObjectStore,
    tmp_path: Path,
) -> None:
    base = made.base(tmp_path / "base", python=python, **config)
    wanted = Wanted(to=Folder(tmp_path / "out"), base=Folder(base))
    with pytest.raises(Invalid, match=says):
        build(late, objects, tmp_path / "home", wanted, silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ([{"created_by": "x"}, {"created_by": "ENV", "empty_layer": True}], 5),
        ([], 4),
        (None, 4),
    ],
)
def test_what_is_told_of_layers_is_told_of_each(
    history: Any, told: int, late: ModelVersion, objects: ObjectStore, house: Any, tmp_path: Path
) -> None:
    base = made.base(tmp_path / "base", history=history)
    wanted = Wanted(to=Folder(tmp_path / "out"), base=Folder(base))
    build(late, objects, house.settings.home, wanted, silent)
    config = config_of(tmp_path / "out")
    assert len(config["rootfs"]["diff_ids"]) == 4
    assert len(config["history"]) == told


def test_the_same_base_is_the_same_wherever_it_lies(
    late: ModelVersion, objects: ObjectStore, house: LocalBackend, tmp_path: Path
) -> None:
    digests = set()
    for name in ("here", "there"):
        wanted = Wanted(to=Folder(tmp_path / name / "out"), base=Folder(made.base(tmp_path / name)))
        digests.add(build(late, objects, house.settings.home, wanted, silent).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_a_base_that_is_no_image_is_one_clear_error(
    part: str, late: ModelVersion, objects: ObjectStore, base: Path, tmp_path: Path
) -> None:
    index = json.loads((base / "index.json").read_bytes())
    digest = index["manifests"][0]["digest"]
    if part == "config":
        digest = blob(base, digest)["config"]["digest"]
    (base / "blobs" / digest.replace(":", "/")).write_bytes(b'{"schemaVersion": 1}')
    wanted = Wanted(to=Folder(tmp_path / "out"), base=Folder(base))
    with pytest.raises(Invalid, match="is no image"):
        build(late, objects, tmp_path / "home", wanted, silent)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    house: LocalBackend, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "late.tar"
    words = ["build", "late", "--home", str(house.settings.home), "--base", f"oci:{base}"]
    words += ["--to", str(out)]

    def little_space() -> None:  # as a quota says it
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))

    done = subprocess.run(
        [sys.executable, "-m", "setpoint", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        preexec_fn=little_space,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: the system refused: File too large" in done.stderr
    assert list(tmp_path.glob("*late.tar*")) == []
    assert not list((house.settings.home / "images").glob(".build-*"))
