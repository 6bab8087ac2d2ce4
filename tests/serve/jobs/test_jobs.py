"""Jobs of a server in a process of its own: taken, killed, cancelled, fetched."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serve.made import live

from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound, Unavailable
from setpoint.serve import store
from setpoint.serve.client import Inference, Job
from setpoint.serve.entities import PredictionRecord
from setpoint.serve.log import read

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# A row takes as many milliseconds as its `a` says; a negative one fails the model.
_SERVES = """
import sys, time
import numpy as np
from setpoint.config import settings
from setpoint.serve.main import run
from tests.serve.made import Sum

class Slow(Sum):
    def predict(self, rows):
        if (rows < 0).any():
            raise ValueError("no negative rows")
        time.sleep(float(np.nansum(rows[:, 0])) / 1000)
        return super().predict(rows)

run(settings(sys.argv[1]), port=0, load=lambda model, version: Slow(version))
"""


class Server:
    """An inference server that is started again after it was killed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.start()

    def start(self) -> None:
        ready = self.settings.home / "run" / "inference.json"
        ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVES, str(self.settings.home)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )
        until(lambda: ready.exists() or self.process.poll() is not None, "it is ready")
        self.url = f"http://127.0.0.1:{json.loads(ready.read_text())['port']}"
        self.client = Inference(self.url)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.client.close()

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], Any]:
        reply, data = self.client._exchange(method, path, body)
        headers = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, headers, json.loads(data)

    def job(self, a: list[float], **named: Any) -> Job:
        return self.client.submit("m", {"a": a, "b": [1.0] * len(a)}, **named)

    def logged(self) -> list[str]:
        """Return the ids of all predictions in the log, as often as they are there."""
        records = [record for _, record in read(self.settings.log)]
        return [i for r in records if isinstance(r, PredictionRecord) and r.scores for i in r.ids]


def until(true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.01)


@contextmanager
def serving(settings: Settings, backend: LocalBackend) -> Iterator[Server]:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
    server = Server(settings)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(settings: Settings, backend: LocalBackend) -> Iterator[Server]:
    with ExitStack() as stack:
        yield stack.enter_context(serving(settings, backend))


def test_a_job_is_answered_as_the_request_would_have_been(server: Server) -> None:
    columns: dict[str, list[float | None]] = {"a": [1.0, 2.0, None], "b": [1.0, 1.0, 1.0]}
    job = server.client.submit("m", columns, ids=["x", "y", "z"])
    assert job.wait(30).state == "done"
    answer, asked = job.result(), server.client.predict("m", columns, ids=["x", "y", "z"])
    assert answer.ids == asked.ids == ["x", "y", "z"]
    assert answer.versions == asked.versions
    np.testing.assert_array_equal(answer.scores, asked.scores)
    status = job.status()
    assert status.started_at
    assert status.ended_at
    assert status.accepted_at <= status.started_at <= status.ended_at


def test_a_client_is_told_where_to_ask_and_when_to_ask_again(server: Server) -> None:
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [300, 1]}]}
    ).encode()
    code, headers, told = server.ask("POST", "/v2/models/m/jobs", body)
    assert code == 202
    where = headers["location"]
    assert where == f"/v2/models/m/jobs/{told['id']}"
    code, headers, said = server.ask("GET", f"{where}/result")
    assert code == 409
    assert headers["retry-after"] == "1"
    assert "ask again later" in said["error"]
    until(lambda: server.ask("GET", where)[2]["state"] == "done", "the job is done")
    code, _, said = server.ask("GET", f"{where}/result")
    assert code == 200
    assert said["outputs"] == [{"name": "score", "shape": [1], "datatype": "FP64", "data": [301.0]}]
    assert [each["id"] for each in server.ask("GET", "/v2/models/m/jobs")[2]["jobs"]] == [
        told["id"]
    ]
    metrics = server.client._send("GET", "/metrics", b"").decode()
    assert 'setpoint_jobs_total{model="m",state="done"} 1' in metrics
    assert "setpoint_jobs_waiting 0" in metrics


def test_what_is_wrong_with_a_request_is_said_at_once(server: Server) -> None:
    with pytest.raises(Invalid, match="missing input 'b'"):
        server.client.submit("m", {"a": [1.0]})
    with pytest.raises(NotFound, match="no model 'other'"):
        server.client.submit("other", {"a": [1.0]})
    assert server.ask("GET", "/v2/models/m/jobs")[2] == {"jobs": []}
    for path in ("/v2/models/m/jobs/job_none", "/v2/models/m/jobs/job_none/result"):
        code, _, said = server.ask("GET", path)
        assert code == 404
        assert "there is no job" in said["error"]


def test_a_model_that_fails_fails_its_job_and_no_other(server: Server) -> None:
    bad, good = server.job([1.0, -1.0]), server.job([1.0])
    assert good.wait(30).state == "done"
    status = bad.status()
    assert status.state == "failed"
    assert "no negative rows" in status.error
    with pytest.raises(Unavailable, match="no negative rows"):
        bad.result()
    with pytest.raises(Conflict, match="is failed"):
        bad.cancel()


def test_jobs_are_run_one_after_the_other_and_may_be_cancelled_before(server: Server) -> None:
    first, second, third = (server.job([400.0]) for _ in range(3))
    until(lambda: first.status().state == "running", "the first runs")
    assert [job.status().position for job in (first, second, third)] == [0, 1, 2]
    assert second.cancel().state == "cancelled"
    assert second.cancel().state == "cancelled"
    assert third.status().position == 1
    with pytest.raises(Conflict, match="was cancelled"):
        second.result()
    assert third.wait(30).state == "done"
    assert second.status().state == "cancelled"
    assert server.logged() == [*first.result().ids, *third.result().ids]
    with pytest.raises(Conflict, match="is done"):
        third.cancel()


def test_a_job_that_is_cancelled_while_it_runs_leaves_nothing_in_the_log(server: Server) -> None:
    job, after = server.job([30.0] * 1_000), server.job([1.0])
    until(lambda: job.status().state == "running", "it runs")
    code, _, told = server.ask("POST", f"/v2/models/m/jobs/{job.id}/cancel")
    assert code == 200
    assert told["state"] == "cancelled"
    assert after.wait(30).state == "done"  # far sooner than 30 s of the first
    assert server.logged() == after.result().ids


def test_whoever_waits_for_an_answer_comes_before_a_job(server: Server) -> None:
    job = server.job([10.0] * 300)
    until(lambda: job.status().state == "running", "it runs")
    took = []
    for _ in range(20):
        began = time.monotonic()
        server.client.predict("m", {"a": [1.0], "b": [1.0]})
        took.append(time.monotonic() - began)
    assert job.status().state == "running"
    assert sorted(took)[10] < 0.2  # the job takes three seconds
    job.cancel()


def test_a_job_has_its_turn_where_others_never_stop_asking(server: Server) -> None:
    over = threading.Event()

    def ask() -> None:
        client = Inference(server.url)
        while not over.is_set():
            client.predict("m", {"a": [20.0], "b": [1.0]})
        client.close()

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            assert server.job([1.0] * 3).wait(60).state == "done"
        finally:
            over.set()
        for each in asking:
            each.result()


def test_jobs_that_were_taken_survive_kill_nine_and_count_once(
    server: Server, backend: LocalBackend
) -> None:
    rng = np.random.default_rng(1)
    jobs = [server.job([20.0] * 10, ids=[f"{n}/{i}" for i in range(10)]) for n in range(12)]
    for _ in range(4):
        until(lambda some=jobs: any(j.status().state == "running" for j in some), "one runs")  # type: ignore[misc]
        time_ = time.monotonic() + rng.uniform(0, 0.3)
        until(lambda end=time_: time.monotonic() > end, "a random moment")  # type: ignore[misc]
        server.kill()
        server.start()
        jobs = [Job(server.client, "m", job.id) for job in jobs]
    for n, job in enumerate(jobs):
        assert job.wait(60).state == "done"
        assert job.result().ids == [f"{n}/{i}" for i in range(10)]
        assert job.result().scores == [21.0] * 10
    counted = Counter(server.logged())
    assert sorted(counted) == sorted(f"{n}/{i}" for n in range(12) for i in range(10))
    from setpoint.control.follow import Follower  # noqa: PLC0415 - tests of serve need no more of it

    assert Follower(backend).follow().predictions == 120


def test_an_answer_is_kept_over_a_restart_and_a_cancelled_job_is_not_begun_again(
    server: Server,
) -> None:
    done, running, dropped = server.job([1.0]), server.job([500.0]), server.job([1.0])
    done.wait(30)
    dropped.cancel()
    server.process.send_signal(signal.SIGKILL)
    server.kill()
    server.start()
    done, running, dropped = (Job(server.client, "m", job.id) for job in (done, running, dropped))
    assert done.result().scores == [2.0]
    assert dropped.status().state == "cancelled"
    assert running.wait(30).state == "done"


def test_many_clients_submit_at_once_and_each_gets_its_own(server: Server) -> None:
    def one(n: int) -> list[float]:
        client = Inference(server.url)
        try:
            job = client.submit("m", {"a": [0.0], "b": [float(n)]})
            job.wait(60)
            return job.result().scores
        finally:
            client.close()

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(64))) == [[float(n)] for n in range(64)]


def test_a_job_asks_for_raw_bytes_and_gets_them(server: Server) -> None:
    body = json.dumps(
        {
            "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    told = server.ask("POST", "/v2/models/m/versions/1/jobs", body)[2]
    Job(server.client, "m", told["id"]).wait(30)
    reply, data = server.client._exchange("GET", f"/v2/models/m/jobs/{told['id']}/result", b"")
    length = int(reply.getheader("inference-header-content-length") or 0)
    assert np.frombuffer(data[length:]).tolist() == [3.0]
