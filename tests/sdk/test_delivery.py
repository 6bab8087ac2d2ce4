"""What was logged arrives: once, in a store or at a server, whoever is killed meanwhile."""

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.cli.running import ENVIRONMENT, free_ports, server, setpoint, until
from tests.sdk.conftest import NOTHING
from tests.sdk.reading import only_folder
from tests.stores import Files

import setpoint as sp
from setpoint.artifacts.store import open_store
from setpoint.config import settings
from setpoint.core.operations import Backend
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import NotFound
from setpoint.runs import columns, service
from setpoint.runs.commands import History, ListRuns, ShowRun
from setpoint.runs.entities import Run
from setpoint.sdk.destination import Embedded
from setpoint.sdk.folders import RunFolder
from setpoint.sdk.remote import HttpBackend
from setpoint.sdk.sync import sync
from setpoint.server import problems
from setpoint.server.app import create_app


@pytest.fixture
def home(tmp_path: Path, file_stores: Files) -> Iterator[LocalBackend]:
    file_stores.empty(tmp_path / "home")
    backend = open_local(settings(tmp_path / "home"))
    yield backend
    backend.engine.dispose()


def only_run(backend: Backend) -> Run:
    (found,) = backend.call(service.ls, ListRuns()).runs
    return backend.call(service.show, ShowRun(run=found.id))


def curve(backend: Backend, run: str, metric: str) -> list[tuple[int, float]]:
    steps, _, values = columns.arrays(
        backend.call(service.history, History(run=run, metric=metric))
    )
    return list(zip(steps.tolist(), values.tolist(), strict=True))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are begun in a small project: its code is captured."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("pass\n")
    monkeypatch.chdir(folder)


def test_everything_arrives_in_the_store_of_the_home(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home"
    monkeypatch.setenv("SETPOINT_DATABASE_URL", database_url)
    with sp.run("churn", params={"a": 1}, tags={"by": "ada"}, home=folder) as run:
        for i in range(2_500):
            run.log(loss=1 / (i + 1), auc=math.nan)
        run.artifact("note.txt", "hello")
        run.log(samples=sp.Image([[0.5]]))
        run.inputs(flights=3)
    home = open_local(settings(folder))
    found = only_run(home)
    assert (found.id, found.experiment, found.status) == (run.id, "churn", "finished")
    assert found.params == {"a": 1}
    assert found.tags["by"] == "ada"
    assert found.inputs == {"flights": 3}
    assert found.code is not None
    assert found.environment
    assert curve(home, run.id, "loss") == [(i, 1 / (i + 1)) for i in range(2_500)]
    assert all(math.isnan(value) for _, value in curve(home, run.id, "auc"))
    assert "system/cpu" in found.metrics
    store = open_store(home.settings)
    assert store.get(found.artifacts["note.txt"].address) == b"hello"
    assert "media/samples/0-0.json" in found.artifacts
    assert not RunFolder.all(folder)
    home.engine.dispose()


def test_the_same_arrives_at_a_server(home: LocalBackend, tmp_path: Path) -> None:
    from tests.server.conftest import serving  # noqa: PLC0415 - seeds a store when imported

    with serving(create_app(home)) as url:
        with sp.run("churn", home=tmp_path / "desk", url=url) as run:
            run.log(loss=0.5)
            run.artifact("large", b"x" * 3_000_000)
            assert run.show().metrics["loss"] == 0.5
            assert run.show().status == "running"
        found = only_run(home)
    assert found.status == "finished"
    assert found.code is not None
    assert found.code.snapshot is not None
    store = open_store(home.settings)
    assert store.has(found.code.snapshot)
    assert len(store.get(found.artifacts["large"].address)) == 3_000_000
    assert not (tmp_path / "desk" / "setpoint.db").exists()
    assert not RunFolder.all(tmp_path / "desk")


def test_a_server_that_is_away_costs_a_warning_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, port = free_ports()
    desk, far = tmp_path / "desk", tmp_path / "far"
    began = time.monotonic()
    with sp.run("churn", home=desk, url=f"http://127.0.0.1:{port}", capture=NOTHING) as run:
        for i in range(5_000):
            run.log(loss=float(i))
        assert not run.flush(5)
    assert time.monotonic() - began < 20
    warnings = [record.getMessage() for record in caplog.records]
    assert sum("cannot reach" in text for text in warnings) == 1
    assert "setpoint sync" in warnings[-1]
    with server(far, port):
        (done,) = sync(settings(desk))
        assert (done.run, done.points, done.complete) == (run.id, 5_000, True)
        with closing(HttpBackend(f"http://127.0.0.1:{port}")) as backend:
            assert len(curve(backend, run.id, "loss")) == 5_000
        assert list(sync(settings(desk))) == []


def test_an_offline_run_waits_for_sync_and_keeps_its_times(home: LocalBackend) -> None:
    folder = home.settings.home
    with sp.run("churn", home=folder, offline=True, params={"a": 1}) as run:
        run.log(loss=0.5)
        run.artifact("note.txt", "hello")
    assert home.call(service.ls, ListRuns()).runs == []
    out = setpoint(folder.parent, "sync", "--home", str(folder), "--json")
    assert out.returncode == 0, out.stderr
    assert run.id in out.stdout
    found = only_run(home)
    assert (found.status, found.params, found.metrics["loss"]) == ("finished", {"a": 1}, 0.5)
    assert found.ended_at is not None
    assert 0 <= (found.ended_at - found.started_at).total_seconds() < 30
    assert open_store(home.settings).get(found.artifacts["note.txt"].address) == b"hello"
    assert setpoint(folder.parent, "sync", "--home", str(folder)).stdout.strip() == (
        "no run waits here"
    )


def test_sync_of_a_run_that_does_not_wait_says_which_do(tmp_path: Path) -> None:
    with sp.run("churn", home=tmp_path, offline=True, capture=NOTHING) as run:
        pass
    with pytest.raises(NotFound) as caught:
        list(sync(settings(tmp_path), runs=["run_x"]))
    assert run.id in caught.value.hint


def test_a_running_offline_run_can_be_synced_as_far_as_it_is(home: LocalBackend) -> None:
    where = settings(home.settings.home)
    with sp.run("churn", home=where.home, offline=True, capture=NOTHING) as run:
        run.log(loss=1.0)
        (first,) = sync(where)
        assert (first.points, first.complete) == (1, False)
        assert only_run(home).status == "running"
        run.log(loss=2.0)
    (second,) = sync(where)
    assert (second.points, second.complete) == (1, True)
    assert curve(home, run.id, "loss") == [(0, 1.0), (1, 2.0)]
    assert only_run(home).status == "finished"


def test_what_is_delivered_again_is_kept_once(home: LocalBackend, tmp_path: Path) -> None:
    where = settings(home.settings.home)
    with sp.run("churn", home=where.home, offline=True, capture=NOTHING) as run:
        for i in range(1_000):
            run.log(loss=0.5, step=i % 10)
        folder = only_folder(where.home).path
        shutil.copytree(folder, tmp_path / "before")
        list(sync(where))
        run.log(loss=0.5, step=3)
    list(sync(where))
    shutil.copytree(tmp_path / "before", folder)
    (again,) = sync(where)
    assert again.complete
    assert len(curve(home, run.id, "loss")) == 1_001


def test_a_param_that_changes_is_told_and_the_rest_arrives(
    home: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with sp.run("churn", home=home.settings.home, params={"a": 1}, capture=NOTHING) as run:
        run.params(a=2)
        run.log(loss=0.5)
    assert "not recorded" in caplog.text
    found = only_run(home)
    assert (found.params, found.metrics, found.status) == ({"a": 1}, {"loss": 0.5}, "finished")


@pytest.mark.parametrize("offline", [False, True])
def test_a_run_goes_on_under_its_id_and_counts_on(home: LocalBackend, offline: bool) -> None:  # noqa: FBT001
    folder = home.settings.home
    for _ in range(2):
        with sp.run("churn", home=folder, id="mine", offline=offline, capture=NOTHING) as run:
            run.log(loss=0.5)
            run.log(loss=0.4)
    list(sync(settings(folder)))
    found = only_run(home)
    assert (found.id, found.status) == ("mine", "finished")
    assert [step for step, _ in curve(home, "mine", "loss")] == [0, 1, 2, 3]


def test_a_killed_run_goes_on_where_it_was(home: LocalBackend) -> None:
    folder = home.settings.home
    last = _killed(folder, "", "mine", 0.4)
    with sp.run("churn", home=folder, id="mine", capture=NOTHING) as run:
        run.log(loss=-1.0)
    kept = curve(home, "mine", "loss")
    assert len(kept) > last + 1
    assert [step for step, _ in kept] == list(range(len(kept)))
    assert kept[-1][1] == -1.0
    assert only_run(home).status == "finished"


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12's
def test_what_a_forked_child_logs_arrives_with_its_parents(home: LocalBackend) -> None:
    with sp.run("churn", home=home.settings.home, capture=NOTHING) as run:
        run.log(loss=0.0)
        run.flush()
        child = os.fork()
        if not child:
            for i in range(1, 1_000):
                run.log(loss=float(i), step=i)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert curve(home, run.id, "loss") == [(i, float(i)) for i in range(1_000)]
    assert only_run(home).status == "finished"


class Failing:
    """A server that fails to answer what is appended, twice, in a way nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self.failures = 2
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/api/v1/runs.append" and self.failures:
            self.failures -= 1
            await problems.response(problems.internal())(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def test_a_server_that_fails_is_asked_again(home: LocalBackend, tmp_path: Path) -> None:
    from tests.server.conftest import serving  # noqa: PLC0415 - seeds a store when imported

    failing = Failing(create_app(home))
    with (
        serving(failing) as url,
        sp.run("churn", home=tmp_path / "desk", url=url, capture=NOTHING) as run,
    ):
        run.log(loss=0.5)
        until(lambda: run.flush(1), "it was asked again")
    assert failing.failures == 0
    assert curve(home, run.id, "loss") == [(0, 0.5)]


RANK = """
import sys
import setpoint as sp
from setpoint.sdk.capture import Capture
home, rank = sys.argv[1], int(sys.argv[2])
capture = Capture(code=False, environment=False, system=0.05)
with sp.run("churn", home=home, id="shared", rank=rank, capture=capture) as run:
    for i in range(2_000):
        run.log({f"loss/{rank}": i, "all": rank}, step=i)
"""


def test_ranks_log_into_one_run_and_none_of_it_is_missing(home: LocalBackend) -> None:
    folder = home.settings.home
    command = [sys.executable, "-c", RANK, str(folder)]
    ranks = [subprocess.Popen([*command, str(rank)], env=ENVIRONMENT) for rank in range(3)]
    assert [rank.wait(120) for rank in ranks] == [0, 0, 0]
    list(sync(settings(folder)))  # the last to end may have left its neighbour's end to others
    found = only_run(home)
    assert found.status == "finished"
    for rank in range(3):
        assert curve(home, "shared", f"loss/{rank}") == [(i, float(i)) for i in range(2_000)]
    assert len(curve(home, "shared", "all")) == 6_000
    assert "system/rank2/cpu" in found.metrics
    assert not RunFolder.all(folder)


KILLED = """
import sys
import setpoint as sp
from setpoint.sdk.capture import Capture
nothing = Capture(code=False, environment=False, host=False, system=0)
run = sp.run("churn", home=sys.argv[1], url=sys.argv[2] or None, id=sys.argv[3], capture=nothing)
for i in range(10**9):
    run.log(loss=i / 2, step=i)
    if i % 50 == 0:
        sys.stdout.write(f"{i}\\n")
        sys.stdout.flush()
"""


def _killed(home: Path, url: str, run: str, seconds: float) -> int:
    """Log until killed; return the last step of which the log call is known to be over."""
    command = [sys.executable, "-c", KILLED, str(home), url, run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
        lines = child.stdout.read().split("\n")
    return int(lines[-2]) if len(lines) > 1 else 0


@pytest.mark.crash
def test_a_killed_process_loses_nothing_it_logged(home: LocalBackend) -> None:
    folder = home.settings.home
    chance = random.Random(5)  # noqa: S311 - moments to kill at
    for n in range(3):
        last = _killed(folder, "", f"run-{n}", chance.uniform(0.05, 1.5))
        list(sync(settings(folder)))
        kept = curve(home, f"run-{n}", "loss")
        assert len(kept) > last
        assert kept == [(i, i / 2) for i in range(len(kept))]
        assert home.call(service.show, ShowRun(run=f"run-{n}")).status == "killed"


@pytest.mark.crash
def test_the_next_run_delivers_what_a_killed_one_left(home: LocalBackend) -> None:
    folder = home.settings.home
    last = _killed(folder, "", "first", 0.7)
    with sp.run("churn", home=folder, id="second", capture=NOTHING) as run:
        run.log(a=1)
        until(lambda: len(RunFolder.all(folder)) == 1, "the first one was delivered")
    assert len(curve(home, "first", "loss")) > last
    assert home.call(service.show, ShowRun(run="first")).status == "killed"


@pytest.mark.crash
def test_a_killed_server_and_killed_clients_lose_nothing_and_keep_it_once(tmp_path: Path) -> None:
    _, port = free_ports()
    desk, far, url = tmp_path / "desk", tmp_path / "far", f"http://127.0.0.1:{port}"
    chance = random.Random(6)  # noqa: S311 - moments to kill at
    last = {}
    for n in range(2):
        with server(far, port) as process:
            command = [sys.executable, "-c", KILLED, str(desk), url, f"run-{n}"]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
            ) as child:
                assert child.stdout is not None
                child.stdout.readline()
                with pytest.raises(subprocess.TimeoutExpired):
                    child.wait(chance.uniform(0.3, 1.5))
                process.kill()
                with pytest.raises(subprocess.TimeoutExpired):
                    child.wait(chance.uniform(0.05, 0.8))
                child.kill()
                last[f"run-{n}"] = int(child.stdout.read().split("\n")[-2])
    with server(far, port), closing(HttpBackend(url)) as backend:
        assert all(done.complete for done in sync(settings(desk)))
        for run, step in last.items():
            kept = curve(backend, run, "loss")
            assert len(kept) > step
            assert kept == [(i, i / 2) for i in range(len(kept))]


def test_a_store_that_cannot_be_opened_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "setpoint.db").write_bytes(b"no database" * 100)
    with sp.run("churn", home=tmp_path, capture=NOTHING) as run:
        run.log(loss=1)
    assert sum("the database failed" in r.getMessage() for r in caplog.records) == 1
    (tmp_path / "setpoint.db").unlink()
    (done,) = sync(settings(tmp_path))
    assert (done.points, done.complete) == (1, True)


def test_an_embedded_store_is_let_go_of(tmp_path: Path) -> None:
    Embedded(settings(tmp_path)).close()
    (tmp_path / "setpoint.db").unlink()
