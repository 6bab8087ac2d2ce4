"""What a server takes, refuses and forgets of jobs; asked without its sockets."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import Served
from tests.serve.made import Raises, Sum, canary, live, shadow

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.serve.entities import EndpointSettings, PredictionRecord, ShadowRecord, SplitArm
from setpoint.serve.jobs import queue
from setpoint.serve.jobs.disk import Folder
from setpoint.serve.jobs.queue import Jobs
from setpoint.serve.splits import store as splits

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PATH = "/v2/models/m/jobs"
TENSOR = {"name": "x", "datatype": "FP64", "shape": [3, 2], "data": [1, 2, 3, 4, 5, 6]}


@pytest.fixture
def served(backend: LocalBackend, tmp_path: Path, clock: ManualClock) -> Iterator[Served]:
    one = Served(backend, tmp_path / "log", clock)
    one.app.jobs = Jobs(one.app, Folder(tmp_path / "jobs"))
    yield one
    one.close()


def submit(served: Served, **parameters: Any) -> tuple[int, Any, dict[str, str]]:
    body = json.dumps({"inputs": [TENSOR], "parameters": parameters}).encode()
    status, raw, headers = served.exchange("POST", PATH, body)
    return status, json.loads(raw), headers


def run(served: Served) -> None:
    """Let the server score everything that waits, and put every answer that is to be put."""
    jobs = served.app.jobs
    assert jobs is not None

    async def settled() -> None:
        if jobs._task is None:
            jobs.start()
        while any(not e.state.final or jobs.owes(e) for e in jobs._entries.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await served.app.settled()

    served._runner.run(asyncio.wait_for(settled(), 60))


def test_more_than_may_wait_is_refused_for_now(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.deploy(live())
    monkeypatch.setattr(queue, "MOST_WAITING", 2)
    assert [submit(served)[0] for _ in range(2)] == [202, 202]
    status, said, headers = submit(served)
    assert status == 429
    assert "2 jobs" in said["error"]
    assert headers["retry-after"] == "1"
    run(served)
    assert submit(served)[0] == 202


def test_more_bytes_than_may_wait_are_refused_for_now(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.deploy(live())
    monkeypatch.setattr(queue, "MOST_BYTES", 300)
    assert [submit(served)[0] for _ in range(3)] == [202, 202, 429]
    assert "setpoint_jobs_waiting 2" in served.get("/metrics")[1]
    run(served)
    assert "setpoint_jobs_waiting_bytes 0" in served.get("/metrics")[1]


def test_how_a_job_ended_is_forgotten_after_a_day(
    served: Served, clock: ManualClock, tmp_path: Path
) -> None:
    served.deploy(live())
    old = submit(served)[1]["id"]
    run(served)
    clock.advance(timedelta(hours=23))
    new = submit(served)[1]["id"]
    run(served)
    assert served.get(f"{PATH}/{old}/result")[0] == 200
    clock.advance(timedelta(hours=2))
    last = submit(served)[1]["id"]
    run(served)
    submit(served)
    run(served)
    status, said = served.get(f"{PATH}/{old}")
    assert status == 404
    assert "kept for 24 hours" in said["error"]
    assert served.get(f"{PATH}/{new}/result")[0] == 200
    assert served.get(f"{PATH}/{last}/result")[0] == 200
    jobs = served.app.jobs
    assert jobs is not None
    served._runner.run(jobs._on_disk(lambda: None))  # what was to be deleted is
    assert not (tmp_path / "jobs" / f"{old}.end").exists()
    assert (tmp_path / "jobs" / f"{new}.end").exists()
    assert not list((tmp_path / "jobs").glob("*.job"))


def test_a_canary_and_its_evidence_have_their_share_of_a_job(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.5))
    told = submit(served, keys=[f"k{i}" for i in range(3)], ids=["a", "b", "c"])[1]
    run(served)
    _, job = served.get(f"{PATH}/{told['id']}/result")
    _, asked = served.infer([[1, 2], [3, 4], [5, 6]], keys=["k0", "k1", "k2"], ids=["d", "e", "f"])
    assert job["outputs"] == asked["outputs"]
    assert job["parameters"]["versions"] == asked["parameters"]["versions"]
    served.sync()
    records = served.logged()
    for kind in (PredictionRecord, ShadowRecord):
        found = sorted(i for r in records if isinstance(r, kind) for i in r.ids)
        assert found == ["a", "b", "c", "d", "e", "f"]


def test_a_job_whose_model_fails_is_answered_by_its_baseline(served: Served) -> None:
    served.predictors[1], served.baselines[1] = Raises(), Sum(100.0)
    served.deploy(live())
    told = submit(served)[1]
    run(served)
    _, job = served.get(f"{PATH}/{told['id']}/result")
    assert job["parameters"]["fallback"] is True
    assert job["outputs"][0]["data"] == [300.0, 700.0, 1100.0]


def test_a_model_that_is_gone_when_its_job_is_run_fails_it(served: Served) -> None:
    served.deploy(live())
    told = submit(served)[1]
    served.deploy()
    run(served)
    _, said = served.get(f"{PATH}/{told['id']}")
    assert said["state"] == "failed"
    assert "no model 'm' is served here" in said["error"]
    assert served.get(f"{PATH}/{told['id']}/result")[0] == 404


def test_what_a_disk_refuses_is_not_taken(served: Served, tmp_path: Path) -> None:
    served.deploy(live())
    folder = tmp_path / "jobs"
    (folder / "lock").unlink()
    folder.rmdir()
    status, said, _ = submit(served)
    assert status == 503
    assert "the job cannot be kept" in said["error"]
    assert served.get(PATH)[1] == {"jobs": []}
    folder.mkdir()
    assert submit(served)[0] == 202


def test_without_a_folder_jobs_are_refused_with_what_to_do(served: Served) -> None:
    assert served.app.jobs is not None
    served._runner.run(served.app.jobs.close())
    served.app.jobs = None
    served.deploy(live())
    for method, path in (("POST", PATH), ("GET", PATH), ("DELETE", f"{PATH}/x")):
        status, said = served.ask(method, path, b"{}")
        assert status == 409
        assert "SETPOINT_SERVE_JOBS=DIR" in said["error"]


def test_methods_of_no_meaning_say_which_have_one(served: Served) -> None:
    for method in ("PUT", "DELETE"):
        status, said = served.ask(method, PATH)
        assert status == 405
        assert "it takes GET, HEAD, POST" in said["error"]


def test_a_job_is_routed_as_its_request_would_have_been(served: Served) -> None:
    served.configure(EndpointSettings(key_header="x-user"))
    served.deploy(live(1), shadow(2))
    arms = [SplitArm(name="blue", version=2, spans=[(0, 500_000)])]
    with served.backend.engine.begin() as conn:
        splits.split(conn, "m", arms)
    served.endpoints.refresh()
    body = json.dumps({"inputs": [TENSOR]}).encode()
    for user in (b"ada", b"bob", b"cyd", b"dan", b"eve"):
        _, raw, _ = served.exchange("POST", PATH, body, [(b"x-user", user)])
        run(served)
        _, job = served.get(f"{PATH}/{json.loads(raw)['id']}/result")
        _, _, told = served.exchange("POST", "/v2/models/m/infer", body, [(b"x-user", user)])
        assert set(job["parameters"]["arms"]) == {told["setpoint-arm"]}


def test_a_tester_names_who_scores_a_job(served: Served) -> None:
    served.deploy(live(1), shadow(2))
    told = submit(served, route="shadow")[1]
    run(served)
    assert served.get(f"{PATH}/{told['id']}/result")[1]["parameters"]["versions"] == [2, 2, 2]
    records = [one for one in served.logged() if isinstance(one, PredictionRecord)]
    assert {(one.roles[:1], one.arm) for one in records} == {(b"\6", "shadow")}
