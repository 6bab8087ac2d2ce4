"""The loop as a whole: with a real project, a real inference server, and people in it."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.control import made
from tests.control.conftest import SOURCES, Loop
from tests.control.made import CODE, MODEL

from setpoint.control.controller import Controller
from setpoint.control.decide import GoLive, Run, StartRelease, Train
from setpoint.control.engine import in_process
from setpoint.control.entities import Job, JobState, State
from setpoint.control.lease import Lease, LeaseLost
from setpoint.control.service import ListStatus, Status, ls
from setpoint.control.store import acquire, holder, release
from setpoint.core.clock import ManualClock
from setpoint.data import store as datasets
from setpoint.db.local import LocalBackend
from setpoint.events import chain
from setpoint.events import store as events
from setpoint.models import service as models
from setpoint.pipelines.local import StepRun
from setpoint.releases import service as releases
from setpoint.releases import store as release_store
from setpoint.releases.entities import State as ReleaseState
from setpoint.releases.service import Decide

DAY = timedelta(days=1)
FAILS = {"code": "work:train_and_fail"}


def kinds(controller: Controller) -> list[type[Any]]:
    return [type(action) for _, action in controller.tick().actions]


def status(home: LocalBackend) -> Status:
    return home.call(ls, ListStatus(model=MODEL)).models[0]


# ---- a whole life, over HTTP -----------------------------------------------------------------


def test_a_changed_spec_becomes_a_version_that_evidence_promotes(
    loop: Callable[[], Loop],
) -> None:
    one = loop()
    assert one.status().live == 1
    assert one.status().state is State.ON_TARGET
    assert one.traffic(2) == {1}
    one.apply(train={"seed": 2})
    actions = [type(action) for _, action in one.tick().actions]
    assert actions == [Train, Run, StartRelease]
    assert one.status().state is State.SETTLING
    answered: set[int] = set()
    for _ in range(60):
        answered |= one.traffic(20)
        if one.release().state is not ReleaseState.RUNNING:
            break
    release = one.release()
    assert release.state is ReleaseState.PROMOTED, release.verdict_why
    assert release.proven
    assert answered == {1, 2}, "the canary answered some, the live version others"
    assert one.status().live == 2
    assert one.traffic(2) == {2}
    with one.home.engine.begin() as conn:
        assert chain.verify(conn).intact


def test_a_bad_version_is_rolled_back_and_people_may_hold_and_resume(
    loop: Callable[[], Loop],
) -> None:
    one = loop()
    one.apply(train={"code": "work:train_on_noise"})
    one.tick()
    assert made.jobs(one.home)[0].state is JobState.REFUSED
    assert one.status().live == 1
    one.home.call(models.override, models.OverrideGate(model=MODEL, number=2, reason="trust me"))
    alias = models.SetAlias(model=MODEL, alias="candidate", number=2, reason="trust me")
    one.home.call(models.alias, alias)
    assert [type(action) for _, action in one.tick().actions] == [StartRelease]
    one.home.call(releases.hold, Decide(release=MODEL, reason="lunch"))
    one.traffic(5)
    assert one.status().state is State.HELD
    assert one.tick().actions == []
    one.home.call(releases.resume, Decide(release=MODEL, reason="back"))
    for _ in range(40):
        one.traffic(20)
        if one.release().state is not ReleaseState.RUNNING:
            break
    release = one.release()
    assert release.state is ReleaseState.ROLLED_BACK, release.verdict_why
    assert "log loss" in release.verdict_why
    assert one.status().live == 1
    assert one.traffic(2) == {1}
    assert one.candidate() is None
    assert one.tick().actions == [], "it was refused: the same is not tried again"


# ---- without traffic, on both databases ------------------------------------------------------


def test_a_tick_brings_the_first_version_live_and_another_does_nothing(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    controller = Controller(backend)
    assert kinds(controller) == [Train, Run, GoLive]
    assert kinds(controller) == []
    assert kinds(Controller(backend)) == [], "nor does a controller that knows nothing yet"
    assert status(backend).live == 1


def test_code_that_raises_ends_its_training_with_where_and_what_and_changes_nothing(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    controller = Controller(backend)
    controller.tick()
    made.apply(backend, tmp_path, train=FAILS)
    assert kinds(controller) == [Train, Run]
    job = made.jobs(backend)[0]
    assert job.state is JobState.FAILED
    assert job.outcome is not None
    assert "ZeroDivisionError: no luck today" in job.outcome
    assert "work.py" in job.outcome
    found = status(backend)
    assert (found.live, found.state) == (1, State.ON_TARGET)
    assert kinds(controller) == []
    made.apply(backend, tmp_path, train={"seed": 5})
    assert kinds(controller) == [Train, Run, StartRelease], "a new change is tried at once"


def test_a_version_that_its_gate_refuses_does_not_serve(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path, objective={"at_least": 0.99})
    controller = Controller(backend)
    assert kinds(controller) == [Train, Run]
    found = status(backend)
    assert (found.live, found.state) == (None, State.OFF_TARGET)
    assert "the gate refused version 1" in found.why
    assert "objective" in found.why
    assert kinds(controller) == []


def test_data_that_vanished_fail_the_training_and_leave_what_serves(
    backend: LocalBackend, clock: ManualClock, tmp_path: Path
) -> None:
    reads = CODE.replace("def rows(now):", "def rows(now):\n    pl.read_csv(FILE)")
    code = reads.replace("import polars as pl", f"import polars as pl\nFILE = '{tmp_path}/x.csv'")
    (tmp_path / "x.csv").write_text("a\n1\n")
    again = {"react": {"stale": "1d", "retrain": {"at_most": "1/day"}}}
    made.apply(backend, tmp_path, code=code, **again)
    controller = Controller(backend)
    controller.tick()
    (tmp_path / "x.csv").unlink()
    clock.advance(DAY)
    assert kinds(controller) == [Train, Run]
    job = made.jobs(backend)[0]
    assert (job.state, job.why) == (JobState.FAILED, "stale: the live version is 1 days old")
    assert "x.csv" in str(job.outcome)
    assert status(backend).live == 1
    assert kinds(controller) == [], "not again before the limit allows"
    (tmp_path / "x.csv").write_text("a\n1\n")
    clock.advance(DAY)
    assert kinds(controller) == [Train, Run, StartRelease]


def test_rows_that_break_the_contract_are_kept_out(backend: LocalBackend, tmp_path: Path) -> None:
    some = 'pl.DataFrame({"id": ids, "a": [None] * 50 + a[50:].tolist()'
    code = CODE.replace('pl.DataFrame({"id": ids, "a": a', some)
    made.apply(backend, tmp_path, code=code)
    Controller(backend).tick()
    with backend.engine.begin() as conn:
        version = datasets.get(conn, "rows")
    assert (version.rows, version.set_aside) == (550, 50)
    assert status(backend).live == 1


def test_a_broken_contract_fails_the_training_and_says_where(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    (tmp_path / "rows.odcs.yaml").write_text("kind: [")
    assert kinds(Controller(backend)) == [Train, Run]
    job = made.jobs(backend)[0]
    assert job.state is JobState.FAILED
    assert "rows.odcs.yaml" in str(job.outcome)


def test_one_models_trouble_does_not_stop_the_others(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.apply(backend, tmp_path / "one", model="a-first")
    made.apply(backend, tmp_path / "two")
    (tmp_path / "one" / "m.setpoint.yaml").unlink()
    controller = Controller(backend)
    controller.tick()
    assert status(backend).live == 1
    assert backend.call(ls, ListStatus(model="a-first")).models[0].live is None


# ---- leases ----------------------------------------------------------------------------------


def test_one_controller_at_a_time_holds_the_lease(backend: LocalBackend) -> None:
    stopping = threading.Event()
    later, day = backend.clock.now(), DAY
    with backend.engine.begin() as conn:
        assert acquire(conn, "controller", "elsewhere:1:0", now=later, lasts=3650 * day)
    stopping.set()
    with Controller(backend).leased(stopping) as held:
        assert not held
    with backend.engine.begin() as conn:
        assert holder(conn, "controller") == "elsewhere:1:0"


def taken_over(backend: LocalBackend, by: str = "elsewhere:1:0") -> None:
    """Have another controller take the lease, as when this one slept until it ran out."""
    with backend.engine.begin() as conn:
        release(conn, "controller", str(holder(conn, "controller")))
        assert acquire(conn, "controller", by, now=datetime.now(UTC), lasts=DAY)


def test_a_controller_that_lost_its_lease_does_nothing_more(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    controller = Controller(backend)
    with controller.leased(threading.Event()) as held:
        assert held
        controller.tick()
        made.apply(backend, tmp_path, train={"seed": 2})
        taken_over(backend)
        with backend.engine.begin() as conn:
            before = events.head(conn)
        for _ in range(2):
            with pytest.raises(LeaseLost, match="another controller works on this store"):
                controller.tick()
        assert controller.lost
    with backend.engine.begin() as conn:
        assert events.head(conn) == before
        assert holder(conn, "controller") == "elsewhere:1:0", "it takes nothing back"
        release(conn, "controller", "elsewhere:1:0")
    with controller.leased(threading.Event()):
        assert kinds(controller)[:2] == [Train, Run], "when it is its turn again, it goes on"


def test_of_two_controllers_the_one_that_slept_stops_in_the_middle_of_its_tick(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    done: list[list[type[Any]]] = []

    def slept(home: LocalBackend, job: Job, told: Callable[[StepRun], None]) -> Job | None:
        """While the first trains, the second takes over and does it all."""
        with home.engine.begin() as conn:
            release(conn, "controller", str(holder(conn, "controller")))
        second = Controller(home)
        with second.leased(threading.Event()):
            done.append(kinds(second))
        return in_process(home, job, told)

    first = Controller(backend, engine=slept)
    with first.leased(threading.Event()), pytest.raises(LeaseLost):
        first.tick()
    assert done == [[Run, GoLive]]
    with backend.engine.begin() as conn:
        assert len(release_store.ls(conn, MODEL)) == 1
    assert len(made.jobs(backend)) == 1


def test_a_lease_that_is_not_renewed_in_time_is_known_to_be_lost(backend: LocalBackend) -> None:
    lease = Lease(backend, lasts=timedelta(seconds=0.3))
    with lease.held(threading.Event()):
        taken_over(backend)
        assert lease._lost.wait(5), "the thread that renews it notices by itself"
        with backend.engine.begin() as conn, pytest.raises(LeaseLost):
            lease.check(conn)


def test_a_lease_is_given_back(backend: LocalBackend) -> None:
    with Controller(backend).leased(threading.Event()) as held:
        assert held
        with backend.engine.begin() as conn:
            assert str(holder(conn, "controller")).startswith(
                f"{socket.gethostname()}:{os.getpid()}:"
            )
    with backend.engine.begin() as conn:
        assert holder(conn, "controller") is None


def test_the_lease_of_a_process_that_was_killed_is_taken_over_at_once(
    backend: LocalBackend,
) -> None:
    dies = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    dead = f"{socket.gethostname()}:{dies.stdout.strip()}:0"
    with backend.engine.begin() as conn:
        assert acquire(conn, "controller", dead, now=backend.clock.now(), lasts=3650 * DAY)
    with Controller(backend).leased(threading.Event()) as held:
        assert held
