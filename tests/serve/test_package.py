"""A package served without a store: as a process of its own, asked over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import psutil
import pytest
from sklearn.tree import DecisionTreeClassifier

from setpoint.artifacts.files import FileStore
from setpoint.config import Serving, serving
from setpoint.errors import Conflict, Denied, Invalid, NotFound
from setpoint.models.build import build
from setpoint.models.entities import ModelVersion
from setpoint.models.flavors import pickles
from setpoint.models.runtime import load
from setpoint.serve import package, writers
from setpoint.serve.client import Inference, Job
from setpoint.serve.entities import EndpointSettings, Place, Process
from setpoint.serve.following import Endpoints
from setpoint.serve.main import run_package
from setpoint.serve.metrics import Metrics
from setpoint.serve.v2 import Rows

from .processes import ROOT

RNG = np.random.default_rng(5)
ROWS = pl.DataFrame({name: RNG.normal(size=200) for name in ("distance", "gusts")})
LATE = (ROWS["distance"] > 0).to_numpy().astype(int)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelVersion, FileStore]:
    store = FileStore(tmp_path_factory.mktemp("objects"))
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(ROWS.to_numpy(), LATE)
    held = build(store, model, ROWS, rng=np.random.default_rng(1))
    values: dict[str, Any] = msgspec.structs.asdict(held)
    made = ModelVersion(
        model="late",
        number=7,
        run_id="run_1",
        why="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        baseline=held,
        **values,
    )
    return made, store


@pytest.fixture
def folder(version: tuple[ModelVersion, FileStore], tmp_path: Path) -> Path:
    for path, data in package.files(package.manifest_of(version[0]), version[1]).items():
        file = tmp_path / "package" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "package"


@contextmanager
def process(folder: Path, *words: str, **env: str) -> Iterator[tuple[Any, str]]:
    """Start a server of a package on a port of the environment, and wait until it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), **env}
    command = [sys.executable, "-m", "setpoint.serve", "--package", str(folder), *words]
    with subprocess.Popen(
        command,
        env={**given, "SETPOINT_SERVE_PORT": str(port)},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            until = time.monotonic() + 20
            while not answers(url) and server.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            yield server, url
        finally:
            server.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_package_takes_jobs_where_it_has_a_folder_for_them(folder: Path, tmp_path: Path) -> None:
    columns = {"distance": [1.0, -1.0], "gusts": [0.0, 2.0]}
    with process(folder) as (_, url):
        client = Inference(url)
        with pytest.raises(Conflict, match="SETPOINT_SERVE_JOBS=DIR"):
            client.submit("late", columns)
        client.close()
    with process(folder, SETPOINT_SERVE_JOBS=str(tmp_path / "jobs")) as (server, url):
        client = Inference(url)
        job = client.submit("late", columns)
        assert job.wait(30).state == "done"
        assert job.result().scores == client.predict("late", columns).scores
        client.close()
        server.kill()
        server.wait()
    with process(folder, "--jobs", str(tmp_path / "jobs")) as (_, url):
        client = Inference(url)
        assert Job(client, "late", job.id).result().versions == [7, 7]
        client.close()


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_package_is_served_without_a_store(
    folder: Path, version: tuple[ModelVersion, FileStore]
) -> None:
    before = files_in(folder)
    with process(folder, "serve") as (server, url):
        client = Inference(url)
        answer = client.predict("late", {"distance": [1.0, -1.0], "gusts": [0.0, 2.0]})
        client.close()
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
        said = server.stderr.read()
    expected = load(version[1], version[0]).predict(np.array([[1.0, 0.0], [-1.0, 2.0]]))
    assert answer.scores == expected.tolist()
    assert answer.versions == [7, 7]
    assert "no prediction log" in said
    assert "authentication" not in said  # this machine only
    assert files_in(folder) == before


def test_a_package_is_served_by_several_processes_and_its_model_in_one_of_its_own(
    folder: Path, version: tuple[ModelVersion, FileStore], tmp_path: Path
) -> None:
    settings = EndpointSettings(timeout=10.0, process=Process.OWN)
    manifest = package.manifest_of(version[0], settings)
    (folder / "package.json").write_bytes(package.files(manifest, version[1])["package.json"])
    log = tmp_path / "log"
    env = {"SETPOINT_SERVE_WORKERS": "2", "SETPOINT_SERVE_LOG": str(log)}
    with process(folder, **env) as (server, url):
        children = psutil.Process(server.pid).children(recursive=True)
        started = [" ".join(one.cmdline()) for one in children]
        assert sum("--worker" in words for words in started) == 2
        assert sum("setpoint.serve.own" in words for words in started) == 2
        rows = {"distance": [1.0, -1.0], "gusts": [0.0, 2.0]}
        for i in range(6):
            client = Inference(url)
            client.predict("late", rows, ids=[f"{i}.a", f"{i}.b"])
            client.label("late", [f"{i}.a"], [1.0])
            client.close()
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
        assert psutil.wait_procs(children, 5)[1] == []
    logged = [row for _, _, one in writers.read(log, Place()) for row in one.ids]
    assert sorted(set(logged)) == sorted(f"{i}.{row}" for i in range(6) for row in "ab")
    assert len(logged) == 18


def test_a_package_says_what_it_is(folder: Path, version: tuple[ModelVersion, FileStore]) -> None:
    said = json.loads((folder / "package.json").read_bytes())
    assert (said["format"], said["model"], said["number"]) == (1, "late", 7)
    assert said["version"]["onnx"] == version[0].onnx
    found = package.Package(folder)
    assert found.manifest == package.manifest_of(version[0])
    assert found.baseline("late", 7) is not None


def test_a_package_carries_the_settings_of_its_endpoint_and_older_ones_have_none(
    folder: Path, version: tuple[ModelVersion, FileStore]
) -> None:
    settings = EndpointSettings(timeout=1.5, process=Process.OWN)
    manifest = package.manifest_of(version[0], settings)
    (folder / "package.json").write_bytes(package.files(manifest, version[1])["package.json"])
    _, changed = package.Package(folder).deployed(list)
    assert changed["late"].settings == settings
    said = json.loads((folder / "package.json").read_bytes())
    del said["settings"]
    (folder / "package.json").write_text(json.dumps(said))
    assert package.Package(folder).manifest.settings == EndpointSettings()


def usual(columns: Any) -> Any:
    return columns["distance"] * 0 + 0.25


def test_a_package_carries_the_function_that_answers_when_its_version_fails(
    version: tuple[ModelVersion, FileStore], tmp_path: Path
) -> None:
    address = version[1].put(pickles.dump(usual))
    manifest = package.manifest_of(version[0], EndpointSettings(fallback_code=address))
    assert address in manifest.addresses
    for path, data in package.files(manifest, version[1]).items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    endpoints = Endpoints(package.Package(tmp_path), Metrics())
    endpoints.refresh()
    fallback = endpoints.all()["late"].live.fallback
    assert fallback is not None
    rows = Rows(2, np.array([[1.0, 0.0], [-1.0, 2.0]]), {})
    assert fallback.score(rows).tolist() == [0.25, 0.25]


def test_a_package_without_its_model_is_no_server(folder: Path) -> None:
    for path in (folder / "objects").rglob("*"):
        if path.is_file():
            path.write_bytes(b"something else")
    with pytest.raises(Invalid, match=r"cannot be served: version 7 does not load.*corrupt"):
        run_package(folder, Serving(port=0))


def test_a_folder_that_is_no_package_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no package"):
        run_package(tmp_path, Serving(port=0))
    (tmp_path / "package.json").write_text('{"format": 1, "model": "late"}')
    with pytest.raises(Invalid, match="missing required field"):
        run_package(tmp_path, Serving(port=0))
    (tmp_path / "package.json").write_text('{"format": 2}')
    with pytest.raises(Invalid, match="has format 2"):
        run_package(tmp_path, Serving(port=0))


def test_a_package_is_for_this_machine_unless_it_is_said(folder: Path) -> None:
    with pytest.raises(Denied, match="refusing to listen"):
        run_package(folder, Serving(host="0.0.0.0", port=0))  # noqa: S104
    with process(folder, "--allow-any-host", SETPOINT_SERVE_HOST="0.0.0.0") as (server, url):  # noqa: S104
        assert answers(url)
        server.terminate()
        assert "there is no authentication" in server.communicate(timeout=10)[1]


@pytest.mark.parametrize("words", [["--allow-any-host"], ["--log", "x"], ["--jobs", "x"]])
def test_a_store_is_for_this_machine_whatever_is_said(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "setpoint.serve", "--home", str(tmp_path), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "are for packages" in done.stderr


def test_how_a_package_is_served_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "LOG", "JOBS"):
        monkeypatch.delenv(f"SETPOINT_SERVE_{name}", raising=False)
    assert serving() == Serving()
    monkeypatch.setenv("SETPOINT_SERVE_PORT", "8080")
    monkeypatch.setenv("SETPOINT_SERVE_LOG", "/var/log/late")
    assert serving() == Serving(port=8080, log=Path("/var/log/late"))
    monkeypatch.setenv("SETPOINT_SERVE_JOBS", "/var/lib/late")
    assert serving().jobs == Path("/var/lib/late")
    assert serving(port=1, host="::1").port == 1
    monkeypatch.setenv("SETPOINT_SERVE_PORT", "http")
    with pytest.raises(Invalid, match="is no port"):
        serving()


def test_a_package_explains_what_it_answers(folder: Path) -> None:
    with process(folder) as (_, url):
        client = Inference(url)
        scores = client.predict("late", {"distance": [1.0, -1.0], "gusts": [0.0, 2.0]}).scores
        client.close()
        told = asked(f"{url}/v1/models/late:explain", {"instances": [[1.0, 0.0], [-1.0, 2.0]]})
        tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 0, -1, 2]}
        answer = asked(f"{url}/v2/models/late/versions/7/explain", {"inputs": [tensor]})
        metrics = urllib.request.urlopen(f"{url}/metrics", timeout=5).read().decode()  # noqa: S310
    for one, score in zip(told["explanations"], scores, strict=True):
        assert one["method"] == "exact: trees"
        assert one["base_value"] + sum(one["shap_values"].values()) == pytest.approx(
            score, abs=1e-9
        )
    values = {each["name"]: each["data"] for each in answer["outputs"]}
    assert values["score"] == scores
    assert values["shap_values"][:2] == list(told["explanations"][0]["shap_values"].values())
    assert 'setpoint_explained_rows_total{model="late",version="7"} 4' in metrics
    assert 'setpoint_rows_total{model="late",version="7",role="live"} 2' in metrics


def test_a_package_of_an_older_setpoint_serves_and_says_that_it_cannot_explain(
    folder: Path,
) -> None:
    said = json.loads((folder / "package.json").read_bytes())
    del said["version"]["background"]
    (folder / "package.json").write_text(json.dumps(said))
    with process(folder) as (_, url):
        client = Inference(url)
        assert len(client.predict("late", {"distance": [1.0], "gusts": [0.0]}).scores) == 1
        client.close()
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(f"{url}/v1/models/late:explain", {"instances": [[1.0, 0.0]]})
        assert refused.value.code == 409
        assert b"no background was kept with this version" in refused.value.read()


def asked(url: str, value: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(value).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return json.load(answer)
