"""Several processes on one port are one server: to clients, to the controller, to Prometheus."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from setpoint.config import Serving, Settings
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Unavailable
from setpoint.serve import several, store, writers
from setpoint.serve.client import Inference, Job
from setpoint.serve.entities import Place, PredictionRecord
from setpoint.serve.siblings import Counted, Door

from .load import Client, under_load
from .made import canary, live
from .processes import deploy_two, process

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def deployed(backend: LocalBackend) -> None:
    deploy_two(backend)


def until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def doors(settings: Settings) -> dict[str, Door]:
    """Return the workers that answer, by name."""
    found = {}
    for path in (settings.home / "run" / "workers").glob("*.json"):
        try:
            found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Door)
        except FileNotFoundError:
            continue
    return found


def requests_kept(folder: Path) -> int:
    """Return how many requests workers have kept that they counted."""
    files = list(folder.glob("*.counts"))
    return sum(
        sum(msgspec.msgpack.decode(path.read_bytes(), type=Counted).metrics.requests.values())
        for path in files
    )


def rows(settings: Settings) -> Counter[str]:
    """Return how often each row was logged, by any process."""
    read = (one for _, _, one in writers.read(settings.log, Place()))
    return Counter(row for one in read if isinstance(one, PredictionRecord) for row in one.ids)


def told(port: int, metric: str) -> float:
    """Return a metric, summed over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


@contextmanager
def asking(port: int) -> Iterator[Inference]:
    """Ask over a connection of its own."""
    client = Inference(f"http://127.0.0.1:{port}")
    try:
        yield client
    finally:
        client.close()


def answered(clients: list[Client]) -> list[str]:
    return [row for client in clients for row in client.answered]


def end(server: "subprocess.Popen[str]", clients: list[Client]) -> None:
    """Tell the server to end; nothing that a client sent may have got no answer."""
    server.send_signal(signal.SIGTERM)
    assert server.wait(15) == 0
    for client in clients:
        client.stop()
    assert [lost for client in clients for lost in client.lost] == []
    assert [status for client in clients for status in client.failed] == []


@pytest.mark.usefixtures("deployed")
def test_all_answer_and_what_they_log_and_count_is_one_log_and_one_sum(
    settings: Settings,
) -> None:
    with process(settings, workers=2) as (server, port):
        clients = under_load(port, 8)
        until(lambda: len(answered(clients)) > 300, "they answer")
        end(server, clients)
    logged = rows(settings)
    assert set(answered(clients)) <= set(logged)
    assert set(logged.values()) == {1}
    assert writers.writers(settings.log) == ["", "w1", "w2"]
    shares = Counter(
        name
        for name, _, one in writers.read(settings.log, Place())
        if isinstance(one, PredictionRecord)
    )
    assert min(shares["w1"], shares["w2"]) > 0, "the system deals connections out"


@pytest.mark.usefixtures("deployed")
def test_metrics_are_the_sum_from_any_of_them_and_never_fall_when_one_dies(
    settings: Settings,
) -> None:
    with process(settings, workers=2) as (server, port):
        clients = [Client(port, fresh=True) for _ in range(4)]
        until(lambda: len(answered(clients)) > 100, "they answer")
        for client in clients:
            client.stop()
        count = len(answered(clients))
        seen = {told(port, "setpoint_requests_total{") for _ in range(8)}
        assert seen == {count}
        victim = next(iter(doors(settings).values()))
        os.kill(victim.pid, signal.SIGKILL)
        until(
            lambda: len(doors(settings)) == 2 and victim not in doors(settings).values(),
            "another one is started",
        )
        assert {told(port, "setpoint_requests_total{") for _ in range(8)} == {count}
        with asking(port) as asked:
            asked.predict("m", {"a": [1.0], "b": [2.0]})
        assert told(port, "setpoint_requests_total{") == count + 1
        end(server, [])


@pytest.mark.usefixtures("deployed")
def test_what_a_worker_counted_outlives_it_though_nobody_asked(settings: Settings) -> None:
    with process(settings, workers=2) as (server, port):
        clients = [Client(port, fresh=True) for _ in range(2)]
        until(lambda: len(answered(clients)) > 100, "they answer")
        for client in clients:
            client.stop()
        counts = settings.home / "run" / "workers"
        until(lambda: requests_kept(counts) == len(answered(clients)), "they are kept")
        for door in doors(settings).values():
            os.kill(door.pid, signal.SIGKILL)
        until(lambda: len(doors(settings)) == 2, "others are started")
        assert told(port, "setpoint_requests_total{") == len(answered(clients))
        end(server, [])


@pytest.mark.usefixtures("deployed")
def test_a_worker_that_is_killed_is_started_again_and_its_connections_wait(
    settings: Settings,
) -> None:
    with process(settings, workers=2) as (server, port):
        before = doors(settings)
        for door in before.values():
            os.kill(door.pid, signal.SIGKILL)
        clients = under_load(port, 8)  # connect while nobody accepts
        until(lambda: len(doors(settings)) == 2, "both answer again")
        assert not set(before) & set(doors(settings))
        end(server, clients)
    assert set(rows(settings).values()) == {1}


@pytest.mark.usefixtures("deployed")
def test_replacing_the_workers_under_load_loses_nothing(settings: Settings) -> None:
    with process(settings, workers=2) as (server, port):
        clients = under_load(port, 6) + [Client(port, fresh=True) for _ in range(2)]
        before = set(doors(settings))
        server.send_signal(signal.SIGHUP)
        until(lambda: not before & set(doors(settings)), "both are replaced")
        until(lambda: len(doors(settings)) == 2, "both answer")
        count = len(answered(clients))
        until(lambda: len(answered(clients)) > count + 100, "they answer on")
        end(server, clients)
    assert {client.fresh for client in clients if client.answered} == {True, False}
    logged = rows(settings)
    assert set(answered(clients)) <= set(logged)
    assert set(logged.values()) == {1}


def children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for told in tasks for child in told.read_text().split()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of children")
@pytest.mark.usefixtures("deployed")
def test_a_worker_that_is_killed_before_it_takes_anothers_place_is_started_once_more(
    settings: Settings,
) -> None:
    with process(settings, workers=2) as (server, port):
        before, old = set(doors(settings)), children(server.pid)
        server.send_signal(signal.SIGHUP)
        until(lambda: bool(children(server.pid) - old), "a new one is started")
        os.kill((children(server.pid) - old).pop(), signal.SIGKILL)
        until(lambda: not before & set(doors(settings)), "both are replaced")
        until(lambda: len(doors(settings)) == 2, "both answer")
        with asking(port) as asked:
            asked.predict("m", {"a": [1.0], "b": [2.0]})
        end(server, [])


@pytest.mark.usefixtures("deployed")
def test_a_server_told_to_end_has_all_of_them_answer_what_they_accepted(
    settings: Settings,
) -> None:
    with process(settings, workers=3) as (server, port):
        clients = under_load(port, 9)
        end(server, clients)
    assert set(answered(clients)) <= set(rows(settings))
    assert doors(settings) == {}


def test_a_deployment_is_followed_by_all_before_the_controller_is_told_so(
    settings: Settings, backend: LocalBackend
) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live(1)])
    with process(settings, workers=2) as (server, port):
        generation = 0
        for version in range(2, 12):
            with backend.engine.begin() as conn:
                generation = store.deploy(conn, "m", [live(version)])
            with asking(port) as asked:
                asked.sync("m", generation)
            for _ in range(6):
                with asking(port) as asked:
                    assert asked.predict("m", {"a": [1.0], "b": [1.0]}).versions == [version]
        with asking(port) as asked, pytest.raises(Conflict):
            asked.sync("m", generation + 1)
        end(server, [])


def test_a_key_has_the_same_version_from_all_of_them(
    settings: Settings, backend: LocalBackend
) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live(1), canary(2, weight=0.5)])
    keys = [f"customer {i}" for i in range(40)]
    columns = {"a": [1.0] * 40, "b": [1.0] * 40}
    with process(settings, workers=2) as (server, port):
        seen = set()
        for _ in range(8):
            with asking(port) as asked:
                seen.add(tuple(asked.predict("m", columns, keys=keys).versions))
        end(server, [])
    assert len(seen) == 1
    assert set(seen.pop()) == {1, 2}


@pytest.mark.usefixtures("deployed")
def test_one_folder_has_one_server_of_however_many_processes(settings: Settings) -> None:
    with process(settings, workers=2) as (server, _):
        with pytest.raises(Conflict, match="another inference server"):
            several.run([], settings, Serving(port=0, workers=2), "warning", 0.0)
        end(server, [])


@pytest.mark.usefixtures("deployed")
def test_a_port_in_use_is_not_shared_with_a_stranger(settings: Settings, tmp_path: Path) -> None:
    with process(settings, workers=2) as (server, port):
        other = msgspec.structs.replace(settings, home=tmp_path / "other")
        with pytest.raises(Conflict, match="is in use"):
            several.run([], other, Serving(port=port, workers=2), "warning", 0.0)
        end(server, [])


@pytest.mark.usefixtures("deployed")
def test_jobs_are_run_by_one_of_them_whoever_is_asked_and_by_another_when_it_dies(
    settings: Settings,
) -> None:
    def submitted(at: int) -> str | None:
        with asking(port) as client:  # whoever the system gives the connection to
            try:
                return client.submit("m", {"a": [1.0 * at], "b": [2.0]}, ids=[f"job-{at}"]).id
            except Unavailable:  # nobody runs them just now
                return None

    def done(job: str) -> bool:
        with asking(port) as client, suppress(Unavailable):
            return Job(client, "m", job).status().state == "done"
        return False

    with process(settings, workers=3) as (server, port):
        until(lambda: submitted(0) is not None, "one of them runs jobs")
        jobs = [found for at in range(1, 10) if (found := submitted(at)) is not None]
        assert len(jobs) == 9
        before = doors(settings)
        for door in before.values():
            os.kill(door.pid, signal.SIGKILL)
        until(lambda: len(doors(settings)) == 3 and not set(before) & set(doors(settings)), "again")
        for job in jobs:
            until(lambda job=job: done(job), "another one runs them")  # type: ignore[misc]
        with asking(port) as client:
            assert Job(client, "m", jobs[4]).result().scores == [7.0]
        assert told(port, "setpoint_jobs_waiting ") == 0
        end(server, [])
    assert {f"job-{at}" for at in range(1, 10)} <= set(rows(settings))
