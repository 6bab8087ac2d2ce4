from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.monitor import windows

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events.store import latest
from setpoint.monitor import service, store
from setpoint.monitor.data_quality import DataQualityPolicy
from setpoint.monitor.drift import DriftPolicy, DriftVerdict
from setpoint.monitor.entities import Alarm, AlarmState, WindowKey
from setpoint.monitor.quality import QualityPolicy
from setpoint.monitor.service import (
    AcknowledgeAlarm,
    CloseAlarm,
    ListAlarms,
    ShowAlarm,
    close_alarms,
    open_alarm,
    watch_data_quality,
    watch_drift,
    watch_quality,
    watch_quality_estimate,
)
from setpoint.profiles.joint import labelled, predicted
from setpoint.profiles.profile import Profile, profile
from setpoint.profiles.reference import HOUR, build_reference

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RNG = np.random.default_rng(71)
SCORES = RNG.beta(2, 6, 4_000)
REFERENCE = build_reference(
    {"x": RNG.normal(size=4_000)}, scores=SCORES, labels=RNG.random(4_000) < SCORES
)
DRIFT = DriftPolicy(seconds=HOUR, threshold=720, rows=100)


def key(hour: int, *, version: int = 1, role: str = "live") -> WindowKey:
    return WindowKey("late", version, role, NOON + timedelta(hours=hour), HOUR)


def hour_of_rows(n: int, shift: float = 0.0) -> Profile:
    return profile({"x": RNG.normal(shift, 1, n)}, REFERENCE, scores=RNG.beta(2, 6, n))


def opened(backend: LocalBackend, **other: Any) -> Alarm:
    given: dict[str, Any] = {
        "model": "late",
        "version": 1,
        "monitor": "drift",
        "text": "temp is not what it was",
        "evidence": {"evidence": 900.0},
        "attribution": [("temp", 0.9), ("wind", 0.1)],
    }
    with backend.engine.begin() as conn:
        return open_alarm(backend.context(conn), **(given | other))


def kinds(backend: LocalBackend) -> list[str]:
    with backend.engine.begin() as conn:
        return [event.kind for event in reversed(latest(conn, kind="alarm."))]


def test_profiles_of_one_window_are_added_up(backend: LocalBackend) -> None:
    parts = [hour_of_rows(n) for n in (40, 30, 20, 10)]
    with backend.engine.begin() as conn:
        store.add_profiles(conn, [(key(0), parts[0]), (key(1), parts[1])])
        store.add_profiles(conn, [(key(0), parts[2]), (key(0), parts[3])])
        store.add_profiles(conn, [(key(0, version=2), parts[3])])
        store.add_profiles(conn, [])
    with backend.engine.begin() as conn:
        found = windows.profiles(conn, "late")
        total = store.profile_between(conn, "late", 1, NOON, NOON + timedelta(hours=2))
        nothing = store.profile_between(conn, "late", 3, NOON, NOON + timedelta(hours=2))
    assert [found[key(0)].rows, found[key(1)].rows] == [70, 30]
    expected = parts[0] + parts[2] + parts[3]
    assert found[key(0)].counts.tolist() == expected.counts.tolist()
    assert total is not None
    assert total.counts.tolist() == (expected + parts[1]).counts.tolist()
    assert nothing is None


def test_a_shadows_windows_are_kept_apart(backend: LocalBackend) -> None:
    with backend.engine.begin() as conn:
        store.add_profiles(
            conn,
            [(key(0), hour_of_rows(5)), (key(0, role="shadow"), hour_of_rows(7))],
        )
        live = store.profile_between(conn, "late", 1, NOON, NOON + timedelta(hours=1))
    assert live is not None
    assert live.rows == 5


def test_what_a_transaction_did_not_commit_is_not_there(backend: LocalBackend) -> None:
    with backend.engine.connect() as conn:
        transaction = conn.begin()
        store.add_profiles(conn, [(key(0), hour_of_rows(5))])
        transaction.rollback()
    with backend.engine.begin() as conn:
        assert windows.profiles(conn, "late") == {}


def test_labels_are_added_to_the_window_of_their_prediction(backend: LocalBackend) -> None:
    scores = [0.2, 0.8, 0.6]
    with backend.engine.begin() as conn:
        store.add_quality(conn, [(key(0), predicted(scores, REFERENCE))])
        store.add_quality(conn, [(key(0), labelled(scores[:2], [0, 1], REFERENCE))])
        found = store.quality_between(conn, "late", 1, NOON, NOON + timedelta(hours=1))
    assert found is not None
    assert (found.predicted, found.labelled, found.positives) == (3, 2, 1)


def watch(backend: LocalBackend) -> list[DriftVerdict]:
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        return watch_drift(ctx, "late", 1, REFERENCE, DRIFT, since=NOON)


def test_drift_is_watched_window_by_window_and_each_once(
    backend: LocalBackend, clock: ManualClock
) -> None:
    sizes = [300, 60, 60, 300, 300]
    with backend.engine.begin() as conn:
        for hour, size in enumerate(sizes):
            store.add_profiles(conn, [(key(hour), hour_of_rows(size, 0.8 * (hour > 2)))])
    clock.advance(timedelta(minutes=59))
    assert watch(backend) == []
    clock.advance(timedelta(hours=2))
    assert [v.rows for v in watch(backend)] == [300]
    clock.advance(timedelta(hours=1))
    assert [v.rows for v in watch(backend)] == [120]  # two quiet hours together
    clock.advance(timedelta(hours=5))
    verdicts = watch(backend)
    assert [v.rows for v in verdicts] == [300, 300]
    assert watch(backend) == []
    found = backend.call(service.ls, ListAlarms(model="late", standing=True)).alarms
    assert [a.monitor for a in found] == ["drift"]
    assert found[0].attribution[0][0] == "x"
    assert "x (" in found[0].text
    with backend.engine.begin() as conn:
        series = store.verdict_series(conn, "late", "drift")
        newest = store.verdict_of(conn, "late", 1, "drift")
    assert [one.verdict["rows"] for one in series] == [300, 120, 300, 300]
    assert newest == series[-1].verdict


def test_judging_in_one_go_or_tick_by_tick_comes_to_the_same(
    backend: LocalBackend, clock: ManualClock
) -> None:
    with backend.engine.begin() as conn:
        for hour in range(6):
            part = hour_of_rows(80 + 40 * hour)
            store.add_profiles(conn, [(key(hour), part), (key(hour, version=2), part)])
    one_by_one = []
    for _ in range(6):
        clock.advance(timedelta(hours=1))
        one_by_one += watch(backend)
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        at_once = watch_drift(ctx, "late", 2, REFERENCE, DRIFT, since=NOON)
    assert at_once == one_by_one
    assert len(at_once) > 3


def test_quality_waits_for_labels_and_its_estimate_does_not(
    backend: LocalBackend, clock: ManualClock
) -> None:
    policy = QualityPolicy(target=0.75, seconds=HOUR, after=6 * HOUR, threshold=30)
    rng = np.random.default_rng(72)
    with backend.engine.begin() as conn:
        for hour in range(8):
            scores = rng.beta(2, 6, 400)
            truth = rng.random(400) < 0.25  # the scores say nothing any more
            asked = predicted(scores, REFERENCE) + labelled(scores, truth, REFERENCE)
            store.add_quality(conn, [(key(hour), asked)])
    clock.advance(timedelta(hours=4))
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        assert watch_quality(ctx, "late", 1, policy, since=NOON) == []
        guesses = watch_quality_estimate(ctx, "late", 1, REFERENCE, policy, since=NOON)
    assert len(guesses) == 4
    clock.advance(timedelta(hours=10))
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        verdicts = watch_quality(ctx, "late", 1, policy, since=NOON)
    assert len(verdicts) == 8
    assert any(v.alarm for v in verdicts)
    found = backend.call(service.ls, ListAlarms(model="late")).alarms
    assert "must hold 0.750" in next(a.text for a in found if a.monitor == "quality")


def test_data_quality_is_watched(backend: LocalBackend, clock: ManualClock) -> None:
    bad = profile({"x": [float("nan")] * 50 + [0.0] * 250}, REFERENCE)
    with backend.engine.begin() as conn:
        store.add_profiles(conn, [(key(0), bad)])
    clock.advance(timedelta(hours=2))
    policy = DataQualityPolicy(seconds=HOUR, threshold=720)
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        (verdict,) = watch_data_quality(ctx, "late", 1, REFERENCE, policy, since=NOON)
        assert not watch_data_quality(ctx, "late", 1, REFERENCE, policy, since=NOON)
    assert verdict.alarm
    (alarm,) = backend.call(service.ls, ListAlarms()).alarms
    assert "x: 16.7% missing" in alarm.text


def test_an_alarm_that_stands_is_added_to(backend: LocalBackend, clock: ManualClock) -> None:
    first = opened(backend)
    clock.advance(timedelta(hours=1))
    again = opened(backend, text="and wind too")
    assert again.id == first.id
    assert (again.times, again.opened_at) == (2, first.opened_at)
    assert again.seen_at == first.opened_at + timedelta(hours=1)
    other = opened(backend, monitor="quality")
    assert other.id != first.id
    assert backend.call(service.show, ShowAlarm(id=first.id)) == again
    assert kinds(backend) == ["alarm.opened", "alarm.repeated", "alarm.opened"]


def test_a_person_acknowledges_with_a_reason(backend: LocalBackend) -> None:
    alarm = opened(backend)
    seen = backend.call(service.ack, AcknowledgeAlarm(id=alarm.id, reason=" storm "))
    assert (seen.state, seen.by, seen.reason) == (AlarmState.ACKNOWLEDGED, "ada", "storm")
    assert opened(backend).id == alarm.id  # it still stands
    with pytest.raises(Invalid, match="a reason is needed"):
        backend.call(service.ack, AcknowledgeAlarm(id=alarm.id, reason=" "))


def test_closing_is_final_and_harmless_twice(backend: LocalBackend) -> None:
    alarm = opened(backend)
    closed = backend.call(service.close, CloseAlarm(id=alarm.id, reason="retrained"))
    again = backend.call(service.close, CloseAlarm(id=alarm.id, reason="once more"))
    assert again == closed
    assert closed.state is AlarmState.CLOSED
    with pytest.raises(Conflict, match="is closed since"):
        backend.call(service.ack, AcknowledgeAlarm(id=alarm.id, reason="late"))
    assert opened(backend).id != alarm.id
    assert kinds(backend) == ["alarm.opened", "alarm.closed", "alarm.opened"]


def test_a_new_version_closes_the_alarms_of_the_old(backend: LocalBackend) -> None:
    opened(backend)
    opened(backend, monitor="quality")
    kept = opened(backend, version=2)
    with backend.engine.begin() as conn:
        closed = close_alarms(backend.context(conn), "late", version=1, reason="version 2")
    assert len(closed) == 2
    standing = backend.call(service.ls, ListAlarms(standing=True)).alarms
    assert standing == [kept]


def test_an_unknown_alarm_says_how_to_look(backend: LocalBackend) -> None:
    with pytest.raises(NotFound) as caught:
        backend.call(service.show, ShowAlarm(id="alm_nope"))
    assert "setpoint alarms ls" in caught.value.hint
