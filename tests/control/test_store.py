"""What the controller keeps: one spec a model, one open training, leases and cursors."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL

from setpoint.control import store
from setpoint.control.entities import Applied, Job, JobState
from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound
from setpoint.serve.entities import Position

MINUTE = timedelta(minutes=1)


def job(number: int = 1, **changed: object) -> Job:
    found = Job(
        id=f"job_{number}",
        model=MODEL,
        why="to see",
        training="t",
        spec="b3:spec",
        state=JobState.REQUESTED,
        requested_at=NOON + number * MINUTE,
    )
    return replace(found, **changed)


def applied(**changed: object) -> Applied:
    found = Applied(
        model=MODEL,
        hash="b3:1",
        content=made.document(),
        address="b3:1",
        training="t",
        file="/somewhere/m.setpoint.yaml",
        applied_at=NOON,
        applied_by="ada",
    )
    return replace(found, **changed)


def test_one_spec_of_a_model_is_in_force(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        store.apply(conn, applied())
        store.apply(conn, applied(hash="b3:2"))
        store.apply(conn, applied(model="another"))
        assert [spec.model for spec in store.all_applied(conn)] == ["another", MODEL]
        assert store.need(conn, MODEL) == applied(hash="b3:2")
        with pytest.raises(NotFound) as caught:
            store.need(conn, "unheard-of")
        assert caught.value.hint == "applied here: another, m"


def test_nothing_applied_says_how_to_apply(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        assert store.applied(conn, MODEL) is None
        with pytest.raises(NotFound) as caught:
            store.need(conn, MODEL)
        assert caught.value.hint == "run: setpoint apply"


def test_one_training_of_a_model_is_open_at_a_time(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        assert store.request(conn, job(1))
        assert not store.request(conn, job(2))
        assert store.request(conn, job(3, model="another"))
        done = job(1, state=JobState.FAILED, finished_at=NOON, outcome="no luck")
        assert store.finish(conn, done)
        assert not store.finish(conn, job(1, state=JobState.REGISTERED)), "it has ended"
        assert store.job(conn, "job_1") == done
        assert store.request(conn, job(2))
        assert store.open_job(conn, MODEL) == store.last_job(conn, MODEL) == job(2)
        assert [one.id for one in store.jobs_of(conn, MODEL)] == ["job_2", "job_1"]
        with pytest.raises(NotFound, match="no training 'job_9'"):
            store.job(conn, "job_9")


def test_trainings_are_found_by_version_and_by_cause(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        store.request(conn, job(1, cause="alm_1"))
        store.began(conn, job(1))
        ended = job(1, cause="alm_1", state=JobState.REGISTERED, version=4, finished_at=NOON)
        store.finish(conn, ended)
        found = replace(ended, attempts=1)
        assert store.job_of_version(conn, MODEL, 4) == found
        assert store.job_of_version(conn, MODEL, 5) is None
        assert store.jobs_caused(conn, "alm_1") == [found]


def test_a_lease_has_one_holder_until_it_runs_out(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        assert store.acquire(conn, "c", "a", now=NOON, lasts=MINUTE)
        assert not store.acquire(conn, "c", "b", now=NOON, lasts=MINUTE)
        assert store.acquire(conn, "c", "a", now=NOON + MINUTE / 2, lasts=MINUTE), "renewed"
        assert not store.acquire(conn, "c", "b", now=NOON + MINUTE, lasts=MINUTE)
        assert store.acquire(conn, "c", "b", now=NOON + 2 * MINUTE, lasts=MINUTE)
        store.release(conn, "c", "a")
        assert store.holder(conn, "c") == "b", "only its holder gives it back"
        store.release(conn, "c", "b")
        assert store.holder(conn, "c") is None


def test_a_cursor_is_where_it_was_put_last(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        assert store.cursor(conn, "log") is None
        for segment in (1, 2):
            store.move_cursor(conn, "log", Position(segment, 7))
        assert store.cursor(conn, "log", lock=True) == {"segment": 2, "offset": 7}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(who=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=8))
def test_two_holders_never_hold_at_once(backend: LocalBackend, who: list[tuple[str, int]]) -> None:
    held: tuple[str, datetime] = ("", datetime(1970, 1, 1, tzinfo=UTC))
    now = NOON
    with backend.engine.begin() as conn:
        store.release(conn, "c", store.holder(conn, "c") or "")
        for name, minutes in who:
            now += minutes * MINUTE
            got = store.acquire(conn, "c", name, now=now, lasts=3 * MINUTE)
            assert got == (held[0] == name or held[1] <= now)
            held = (name, now + 3 * MINUTE) if got else held
