"""What decisions rest on is read in one transaction."""

from pathlib import Path

import pytest
from tests.control import made
from tests.control.made import MODEL
from tests.releases.begun import begun

from setpoint.control import store
from setpoint.control.decide import Observed
from setpoint.control.observe import observe
from setpoint.db.local import LocalBackend
from setpoint.models import service as models
from setpoint.monitor.service import AcknowledgeAlarm, CloseAlarm, ack, close, open_alarm
from setpoint.releases import service as releases
from setpoint.releases.entities import State
from setpoint.releases.service import Decide, Start


def seen(home: LocalBackend) -> Observed:
    with home.engine.begin() as conn:
        return observe(home.context(conn), store.need(conn, MODEL))


@pytest.fixture
def home(backend: LocalBackend, tmp_path: Path) -> LocalBackend:
    made.apply(backend, tmp_path)
    return backend


def test_a_model_that_was_just_applied_has_nothing(home: LocalBackend) -> None:
    found = seen(home)
    assert (found.live, found.candidate, found.release, found.job) == (None, None, None, None)
    assert found.spec.model == MODEL


def test_a_version_being_released_is_no_candidate_and_the_next_one_is(home: LocalBackend) -> None:
    for number in (1, 2, 3):
        made.version(home, run=f"run_{number}")
    begun(home, Start(model=MODEL, version=1))
    begun(home, Start(model=MODEL, version=2))
    found = seen(home)
    assert (found.live, found.candidate) == (1, None)
    assert found.release is not None
    assert found.release.version == 2
    home.call(releases.rollback, Decide(release=MODEL, reason="no"))
    ended = seen(home)
    assert ended.release is not None
    assert (ended.candidate, ended.release.state) == (None, State.ROLLED_BACK)
    alias = models.SetAlias(model=MODEL, alias="candidate", number=3, reason="try")
    home.call(models.alias, alias)
    assert (seen(home).candidate, seen(home).candidate_why) == (3, "made")


def test_alarms_count_while_they_stand_and_are_of_the_live_version(home: LocalBackend) -> None:
    for number in (1, 2):
        made.version(home, run=f"run_{number}")
    begun(home, Start(model=MODEL, version=1))
    with home.engine.begin() as conn:
        alarms = [
            open_alarm(
                home.context(conn),
                model=MODEL,
                version=version,
                monitor="drift",
                text="it moved",
                evidence={},
                attribution=[],
            )
            for version in (1, 2)
        ]
    assert [a.id for a in seen(home).alarms] == [alarms[0].id]
    home.call(ack, AcknowledgeAlarm(id=alarms[0].id, reason="seen"))
    assert len(seen(home).alarms) == 1
    home.call(close, CloseAlarm(id=alarms[0].id, reason="gone"))
    assert seen(home).alarms == []
