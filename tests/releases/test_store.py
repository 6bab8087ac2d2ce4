from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, NotFound
from setpoint.releases import store
from setpoint.releases.entities import Policy, Release, Stage, State
from setpoint.releases.evidence import Evidence, GuardTally, paired_loss, streak
from setpoint.releases.tables import releases


@pytest.fixture
def release(clock: ManualClock) -> Release:
    tally = GuardTally(
        weight=0.05, canary_events=1, total_events=3, canary_requests=50, requests=1000
    )
    return Release(
        id="rel_1",
        model="flights-late",
        version=2,
        from_version=1,
        stage=Stage.CANARY,
        step=1,
        weight=0.05,
        state=State.RUNNING,
        started_at=clock.now(),
        stage_since=clock.now(),
        limit_from=clock.now(),
        policy=Policy(at_most=timedelta(hours=36), guards=("errors", "slow")),
        evidence=Evidence(
            guards={"errors": (tally,)},
            loss=paired_loss([0.1, -0.25, 1 / 3]),
            requests_in_stage=7,
            canary_streak=streak([True, False]),
        ),
        verdict_why="errors rare — größer",
    )


def test_what_was_written_is_read_back(backend: LocalBackend, release: Release) -> None:
    with backend.engine.begin() as conn:
        store.add(conn, release)
    with backend.engine.begin() as conn:
        assert store.get(conn, "rel_1") == release
        assert store.get(conn, "rel_1", lock=True) == release
        assert store.find(conn, "flights-late") == release
        assert store.find(conn, "rel_1") == release
        assert store.current(conn, "flights-late") == release
        assert store.running(conn) == [release]
        assert store.of_version(conn, "flights-late", 2) == [release]
        assert store.of_version(conn, "flights-late", 3) == []


@pytest.mark.parametrize("state", [State.RUNNING, State.HELD])
def test_a_second_open_release_of_a_model_is_refused(
    backend: LocalBackend, release: Release, state: State
) -> None:
    with backend.engine.begin() as conn:
        store.add(conn, replace(release, state=state))
    with pytest.raises(Conflict, match="open already"), backend.engine.begin() as conn:
        store.add(conn, replace(release, id="rel_2"))


def test_the_database_itself_refuses_it(backend: LocalBackend, release: Release) -> None:
    rows = [{**_row(release), "id": name} for name in ("rel_1", "rel_2")]
    with pytest.raises(IntegrityError), backend.engine.begin() as conn:
        conn.execute(insert(releases), rows)


def test_releases_that_are_over_and_other_models_do_not_count(
    backend: LocalBackend, release: Release
) -> None:
    later = release.started_at + timedelta(seconds=1)
    with backend.engine.begin() as conn:
        store.add(conn, replace(release, id="rel_0", state=State.PROMOTED))
        store.add(conn, replace(release, id="rel_1", state=State.ROLLED_BACK))
        store.add(conn, replace(release, id="rel_2", started_at=later))
        store.add(conn, replace(release, id="rel_3", model="other"))
        assert [each.id for each in store.ls(conn, "flights-late")] == [
            "rel_2",
            "rel_1",
            "rel_0",
        ]
        assert [each.id for each in store.ls(conn, limit=1)] == ["rel_2"]
        assert [each.id for each in store.running(conn)] == ["rel_2", "rel_3"]


def test_a_writer_that_saw_an_older_release_is_refused(
    backend: LocalBackend, release: Release
) -> None:
    held = replace(release, state=State.HELD, revision=1)
    with backend.engine.begin() as conn:
        store.add(conn, release)
        store.put(conn, held, was=release)
    promoted = replace(release, state=State.PROMOTED, revision=1)
    with pytest.raises(Conflict, match="changed meanwhile"), backend.engine.begin() as conn:
        store.put(conn, promoted, was=release)
    with backend.engine.begin() as conn:
        assert store.get(conn, "rel_1") == held


def test_a_look_is_kept_once_a_time(backend: LocalBackend, release: Release) -> None:
    at = release.started_at
    richer = replace(release, evidence=Evidence(requests_in_stage=99))
    with backend.engine.begin() as conn:
        store.add(conn, release)
        store.add_look(conn, release, at + timedelta(hours=1))
        store.add_look(conn, release, at)
        store.add_look(conn, richer, at)
        first, second = store.looks(conn, "rel_1")
    assert (first.at, first.evidence.requests_in_stage) == (at, 99)
    assert second.evidence == release.evidence


def test_an_unknown_release_is_named_in_the_error(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn, pytest.raises(NotFound, match="rel_9"):
        store.find(conn, "rel_9")


def _row(release: Release) -> dict[str, object]:
    return {name: getattr(release, name) for name in release.__struct_fields__}
