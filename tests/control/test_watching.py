"""The live version's windows are judged when they are over, once."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL, predicted
from tests.releases.begun import begun

from setpoint.control import store, watching
from setpoint.control.controller import Controller
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
    starts = [verdict["start"] for _, verdict in verdicts]
    assert len(starts) == len(set(starts)), "no window is judged twice"


def _judge(home: LocalBackend, controller: Controller) -> None:
    with home.engine.begin() as conn:
        ctx, applied = home.context(conn), store.need(conn, MODEL)
        found = watching.due(ctx, applied)
        assert found is not None
        watching.judge(ctx, applied, found, controller._follower.reference)
