"""The live version's windows are judged when they are over, once."""

from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL, predicted
from tests.releases.begun import begun

from setpoint.control import store, watching
from setpoint.control.controller import Controller
from setpoint.control.entities import State
from setpoint.control.service import ListStatus, ls
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.monitor import store as monitor
from setpoint.releases.service import Start
from setpoint.serve.log import LogWriter

HOUR = timedelta(hours=1)


@pytest.fixture
def home(backend: LocalBackend, tmp_path: Path) -> LocalBackend:
    made.apply(backend, tmp_path / "project", react={"drift": "alarm", "quality": "alarm"})
    return backend


def live(home: LocalBackend) -> None:
    made.version(home, found=made.reference())
    begun(home, Start(model=MODEL, version=1))


def due(home: LocalBackend) -> watching.Due | None:
    with home.engine.begin() as conn:
        return watching.due(home.context(conn), store.need(conn, MODEL))


def test_nothing_is_judged_before_a_version_is_live(home: LocalBackend) -> None:
    assert due(home) is None
    live(home)
    assert due(home) == watching.Due(version=1, since=NOON)


def test_inputs_that_moved_raise_one_alarm_when_their_window_is_over(
    home: LocalBackend, clock: ManualClock
) -> None:
    live(home)
    with home.engine.begin() as conn:  # the training that would be asked for is none of ours
        store.apply(conn, store.need(conn, MODEL))
    rng = np.random.default_rng(0)
    writer = LogWriter(home.settings.log, segment_bytes=1_000_000)
    controller = Controller(home)
    for hour in range(6):
        ids = [f"p{hour}-{i}" for i in range(300)]
        values = (rng.normal(size=(300, 2)) + 3.0).tobytes()
        record = predicted(ids, rng.random(300).tolist(), at=clock.now(), values=values)
        writer.append(record)
        clock.advance(HOUR)
        controller._follower.follow()
        _judge(home, controller)
        _judge(home, controller)
    writer.close()
    with home.engine.begin() as conn:
        alarms = monitor.list_alarms(conn, model=MODEL, monitor="drift")
        verdicts = monitor.verdict_series(conn, MODEL, "drift")
    assert len(alarms) == 1
    assert {column for column, _ in alarms[0].attribution} <= {"a", "b", "score"}
    starts = [one.start for one in verdicts]
    assert len(starts) == len(set(starts)), "no window is judged twice"


def _judge(home: LocalBackend, controller: Controller) -> None:
    with home.engine.begin() as conn:
        ctx, applied = home.context(conn), store.need(conn, MODEL)
        found = watching.due(ctx, applied)
        assert found is not None
        watching.judge(ctx, applied, found, controller._follower.reference)


# ---- requests that fail ----------------------------------------------------------------------


def test_more_failures_than_allowed_open_an_alarm_within_a_quarter_of_an_hour(
    backend: LocalBackend, clock: ManualClock, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path / "project", guardrails={"errors": {"at_most": "1%"}})
    live(backend)
    controller = Controller(backend)
    writer = LogWriter(backend.settings.log, segment_bytes=1_000_000)

    asked = count()

    def ask(requests: int, **more: Any) -> None:
        for _ in range(requests):
            writer.append(predicted([f"p{next(asked)}"], at=clock.now(), **more))

    ask(200)
    clock.advance(timedelta(minutes=15))
    controller.tick()
    calm = backend.call(ls, ListStatus(model=MODEL)).models[0]
    assert calm.errors is not None
    assert (calm.errors.requests, calm.errors.failed, calm.alarms) == (200, 0, [])
    ask(40)
    ask(60, status=500, failed=1, scores=[])  # nobody answered
    ask(40, status=500, failed=1, fallback=True, roles=bytes([2]))  # the baseline did
    clock.advance(timedelta(minutes=14))
    assert controller.tick().followed.records == 140
    assert backend.call(ls, ListStatus(model=MODEL)).models[0].alarms == []
    clock.advance(timedelta(minutes=1))
    controller.tick()
    controller.tick()
    found = backend.call(ls, ListStatus(model=MODEL)).models[0]
    assert found.state is State.OFF_TARGET
    assert [(alarm.monitor, alarm.times) for alarm in found.alarms] == [("errors", 1)]
    assert found.alarms[0].text.startswith("100 of 140 requests (71.43%) failed")
    assert "at most 1% may" in found.alarms[0].text
    assert made.jobs(backend)[0].cause is None, "nothing to be learnt from failures"
    clock.advance(timedelta(days=40))
    controller.tick()
    writer.close()
    with backend.engine.begin() as conn:
        verdicts = monitor.verdict_series(conn, MODEL, "errors")
    assert len(verdicts) == 2, "time in which nobody asked is not judged"


def test_who_stood_in_for_a_version_that_failed_is_not_blamed(
    backend: LocalBackend, clock: ManualClock, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path / "project", guardrails={"errors": {"at_most": "1%"}})
    live(backend)
    writer = LogWriter(backend.settings.log, segment_bytes=1_000_000)
    for i in range(30):  # the canary, 2, failed and the live version answered
        writer.append(predicted([f"p{i}"], at=clock.now(), canary=True, failed=2, status=500))
    writer.close()
    Controller(backend).tick()
    with backend.engine.begin() as conn:
        counts = [monitor.attempts_since(conn, MODEL, version, NOON)[0] for version in (1, 2)]
    assert [(one.requests, one.failed) for one in counts] == [(30, 0), (30, 30)]
