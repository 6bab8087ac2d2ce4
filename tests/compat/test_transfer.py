"""Stores that other systems' own clients and servers wrote, brought here and sent back."""

import math
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.compat.conftest import client, lines, running
from tests.compat.environments import needed
from tests.transfer.conftest import Here

from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.models.registry import service as registry
from setpoint.models.registry.commands import OneModel, OneVersion
from setpoint.runs.entities import Lifecycle, Status
from setpoint.transfer.exporter import send
from setpoint.transfer.mlflow import Login, open_mlflow
from setpoint.transfer.mlflow_models import send_models
from setpoint.transfer.mlflow_target import MlflowTarget
from setpoint.transfer.wandb import Wandb

HERE = Path(__file__).parent
IMPORT = HERE / "mlflow_import_journeys.py"
_SECONDS = 300


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Here]:
    backend = open_local(settings(tmp_path / "store"))
    yield Here(backend)
    backend.engine.dispose()


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run the real server over a database of its own, giving out its artifacts itself."""
    python = needed("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(str(python.parent / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/there.db", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            _until_healthy(f"http://127.0.0.1:{port}", process, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _until_healthy(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/health", timeout=2).close()  # noqa: S310
            return
        time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def is_the_store_written(here: Here, report: Any) -> None:
    runs = here.runs()
    parent, child = runs["parent"], runs["child"]
    assert parent.experiment == "späte Flüge/1"
    assert parent.params == {"leaves": "31", "note": "x" * 300}
    assert parent.tags["kind"] == "sweep"
    assert [(s, v) for s, _, v in here.points(parent, "loss/val")] == [
        (step, 1 / (step + 1)) for step in range(5)
    ]
    odd = [value for _, _, value in here.points(parent, "odd")]
    assert math.isnan(odd[0])
    assert odd[1] == math.inf
    assert here.files(parent) == {"notes/hello.txt": b"hello"}
    assert child.parent == parent.id
    assert (runs["failed"].status, runs["failed"].lifecycle) == (Status.FAILED, Lifecycle.DELETED)
    assert (report.brought, report.points, report.files) == (3, 8, 1)
    assert report.left == []


def test_a_database_of_mlflow(ours: Here, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/there.db"
    client("mlflow", IMPORT, "write", uri, folder=tmp_path)
    report = ours.bring(open_mlflow(uri, Login()))
    is_the_store_written(ours, report)
    assert ours.bring(open_mlflow(uri, Login())).known == 3


def test_a_server_of_mlflow_and_back(ours: Here, tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as url:
        client("mlflow", IMPORT, "write", url, folder=tmp_path)
        is_the_store_written(ours, ours.bring(open_mlflow(url, Login())))
    (tmp_path / "second").mkdir()
    with mlflow_server(tmp_path / "second") as url:
        sent = _send(ours, url)
        assert (sent.runs, sent.points, sent.files, sent.left) == (2, 8, 1, [])
        again = _send(ours, url)
        assert (again.runs, again.known) == (0, 2)
        out = client("mlflow", IMPORT, "tell", url, folder=tmp_path)
    told = {run["name"]: run for run in lines(out, "run")}
    assert told["parent"]["experiment"] == "späte Flüge/1"
    assert told["parent"]["params"] == {"leaves": "31", "note": "x" * 300}
    largest = "1.7976931348623157e+308"  # what that server keeps for infinity
    assert told["parent"]["history"]["odd"] == [[1, "nan"], [2, largest]]
    assert len(told["parent"]["history"]["loss/val"]) == 5
    assert told["parent"]["files"] == {"notes/hello.txt": "hello"}
    assert (told["child"]["status"], told["child"]["tags"]["setpoint.whole"]) == ("FINISHED", "yes")


def are_the_models_written(here: Here, report: Any) -> None:
    assert (report.models, report.versions) == (2, 3)
    assert [each.what for each in report.left] in ([], ["1 logged models"])  # a server tells none
    named = OneModel(model="late's")
    model = here.backend.call(registry.about, named)
    assert (model.description, model.tags["team"]) == ("of flights", "ops")
    assert model.aliases == {"champion": 3}
    first, logged = (
        here.backend.call(registry.version, OneVersion(model="late's", number=number))
        for number in (1, 3)
    )
    run = here.runs()["trained"]
    assert first.version.source == f"runs:/{run.id}/own"
    assert (first.version.description, first.version.stage) == ("first", "Archived")
    assert (logged.version.run_id, logged.tags["kind"]) == (run.id, "logged")
    files = here.files(run)
    assert files["own/model.txt"] == b"weights"
    assert "registered/late's/3/MLmodel" in files


def test_registered_models_of_a_database_of_mlflow(ours: Here, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/there.db"
    client("mlflow", IMPORT, "write-models", uri, folder=tmp_path)
    are_the_models_written(ours, ours.bring(open_mlflow(uri, Login())))
    again = ours.bring(open_mlflow(uri, Login()))
    assert (again.versions, again.versions_known) == (0, 3)


@pytest.mark.long  # two servers of theirs; runs go that way in any case, models by the database
def test_registered_models_of_a_server_of_mlflow_and_back(ours: Here, tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as url:
        client("mlflow", IMPORT, "write-models", url, folder=tmp_path)
        are_the_models_written(ours, ours.bring(open_mlflow(url, Login())))
    where = ours.backend.settings
    with running(where.home, where.database_url) as server:
        out = client("mlflow", IMPORT, "tell-models", server.url, folder=tmp_path)
        assert lines(out, "loaded") == [{"found": [7.0, 7.0]}]
    (tmp_path / "second").mkdir()
    with mlflow_server(tmp_path / "second") as url:
        sent = send_models(ours.backend, ours.store, MlflowTarget(url, Login()), [])
        assert (sent.models, sent.versions, sent.runs, sent.left) == (2, 3, 1, [])
        again = send_models(ours.backend, ours.store, MlflowTarget(url, Login()), [])
        assert (again.versions, again.versions_known, again.runs) == (0, 3, 0)
        out = client("mlflow", IMPORT, "tell-models", url, folder=tmp_path)
    assert lines(out, "loaded") == [{"found": [7.0, 7.0]}]
    assert lines(out, "prompt") == [{"template": "Hello {{who}}!"}]
    told = {line["tags"]["setpoint.version"]: line for line in lines(out, "version")}
    assert told["late's/1"]["stage"] == "Archived"
    assert told["late's/1"]["files"] == ["own/model.txt"]
    assert told["late's/3"]["tags"]["kind"] == "logged"


def test_offline_runs_of_wandb(ours: Here, tmp_path: Path) -> None:
    client(
        "wandb",
        HERE / "wandb_offline_journeys.py",
        str(tmp_path),
        folder=tmp_path,
        WANDB_CACHE_DIR=str(tmp_path / "cache"),
        WANDB_DATA_DIR=str(tmp_path),
    )
    report = ours.bring(Wandb(str(tmp_path / "wandb")))
    runs = ours.runs()
    kept = runs["kept"]
    assert (kept.experiment, kept.status) == ("flights", Status.FINISHED)
    assert kept.params == {"lr": 0.1, "opt.name": "adam"}
    assert [kept.tags[name] for name in ("group", "notes", "x")] == ["g", "a *note*", ""]
    loss = [value for _, _, value in ours.points(kept, "loss")]
    assert loss[:120] == [1 / (step + 1) for step in range(120)]
    assert math.isnan(loss[120])
    assert ours.points(kept, "nested.a")[119][2] == 119
    assert ours.points(kept, "best")[0][2] == 0.5
    assert ours.files(kept)["artifacts/m/model.bin"] == b"m" * 1000
    assert (runs["failed"].status, runs["failed"].error) == (Status.FAILED, "exit code 3")
    assert report.left == []


def _send(ours: Here, url: str) -> Any:
    return send(ours.backend, ours.store, MlflowTarget(url, Login()), experiments=[], filter="")
