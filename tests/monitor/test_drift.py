"""Simulations with the rates that `methods` declares; seeds are fixed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.stats import binom, norm

from setpoint.errors import Invalid
from setpoint.monitor import drift
from setpoint.monitor.drift import DriftPolicy, DriftState, DriftVerdict, floor_p
from setpoint.monitor.evidence import log_e, shiryaev_roberts, threshold
from setpoint.profiles.distances import homogeneity
from setpoint.profiles.profile import Profile, empty, profile
from setpoint.profiles.reference import DAY, HOUR, Reference, build_reference

COLUMNS, MONTH = 50, 30 * 24
A = threshold(every=30 * 86_400, window=HOUR)
POLICY = DriftPolicy(seconds=HOUR, threshold=A)
START = datetime(2026, 1, 1, tzinfo=UTC)
REFERENCE = build_reference(
    {f"x{k}": np.random.default_rng(k).normal(size=50_000) for k in range(COLUMNS)}
)


def chances(shift: float = 0.0, missing: float = 0.0) -> np.ndarray[Any, Any]:
    """Return each bin's probability for normal columns, the first shifted or missing."""
    found = []
    for k, column in enumerate(REFERENCE.columns):
        assert column.cuts is not None
        below = norm.cdf(column.cuts[1:-2], loc=shift if k == 0 else 0)
        p = np.zeros(column.size)
        p[1:-4] = np.diff(np.concatenate([[0], below, [1]]))
        lost = missing if k == 0 else 0.0
        p *= 1 - lost
        p[-2] += lost
        found.append(p)
    return np.concatenate(found)


def window(p: np.ndarray[Any, Any], n: int, rng: np.random.Generator) -> Profile:
    starts = [*REFERENCE.layout.offsets, REFERENCE.layout.size]
    counts = [rng.multinomial(n, p[a:b]) for a, b in pairwise(starts)]
    return replace(empty(REFERENCE.layout), rows=n, counts=np.concatenate(counts))


def watch(
    p: np.ndarray[Any, Any], n: int, windows: int, seed: int
) -> tuple[int | None, DriftVerdict]:
    """Return the first window with an alarm, and the last verdict."""
    rng = np.random.default_rng(seed)
    state = drift.begin(REFERENCE, since=START, policy=POLICY)
    verdict = None
    for at in range(windows):
        end = START + timedelta(hours=at + 1)
        state, verdict = drift.update(state, REFERENCE, window(p, n, rng), POLICY, end=end)
        if verdict.alarm:
            return at + 1, verdict
    assert verdict is not None
    return None, verdict


@pytest.mark.parametrize(("rows", "reference"), [(1_000, 50_000), (10_000, 50_000)])
def test_sixty_months_without_drift_keep_to_one_false_alarm_a_month(
    rows: int, reference: int
) -> None:
    months, groups = 60, 12
    rng = np.random.default_rng(rows)
    p = np.zeros((months * COLUMNS, groups))
    p[:, 2:] = 0.1
    before = rng.multinomial(reference, p)
    log_r = np.full(months * COLUMNS, -np.inf)
    alarms = 0
    for _ in range(MONTH):
        found = homogeneity(rng.multinomial(rows, p), before)
        log_r = shiryaev_roberts(log_r, log_e(floor_p(found, POLICY.floor)))
        level = np.exp(log_r).reshape(months, COLUMNS).mean(axis=1)
        alarms += int((level >= A).sum())
        log_r = np.where(np.repeat(level >= A, COLUMNS), -np.inf, log_r)
    # if one a month were the rate, so few would be seen in fewer than 1 % of such runs
    assert alarms <= binom.ppf(0.01, months * MONTH, 1 / MONTH)


def test_the_simulated_rule_is_the_rule() -> None:
    rng = np.random.default_rng(41)
    p = chances()
    state = drift.begin(REFERENCE, since=START, policy=POLICY)
    log_r = np.full(COLUMNS, -np.inf)
    for at in range(24):
        part = window(p, 1_000, rng)
        end = START + timedelta(hours=at + 1)
        state, verdict = drift.update(state, REFERENCE, part, POLICY, end=end)
        found = homogeneity(REFERENCE.layout.grouped(part.counts), REFERENCE.grouped)
        log_r = shiryaev_roberts(log_r, log_e(floor_p(found, POLICY.floor)))
        assert verdict.evidence == pytest.approx(np.exp(log_r).mean())
        assert verdict.judged


@pytest.mark.parametrize(
    ("rows", "shift", "hours"),
    [
        (1_000, 0.1, 26),  # the median of nine; in the long run 23
        (1_000, 0.2, 2),
        (1_000, 0.5, 1),
        (10_000, 0.1, 2),
        (10_000, 0.2, 1),
        (10_000, 0.5, 1),
    ],
)
def test_a_shift_of_one_column_in_fifty_is_found_in_time(
    rows: int, shift: float, hours: int
) -> None:
    p = chances(shift)
    found = [watch(p, rows, 200, seed) for seed in range(9)]
    delays = [200 if first is None else first for first, _ in found]
    assert np.median(delays) <= hours
    for _, verdict in found:
        assert verdict.attribution[0][0] == "x0"
        assert verdict.columns[0].share > 0.5


@pytest.mark.parametrize("rows", [1_000, 10_000])
def test_missing_values_going_from_none_to_six_percent_are_found_at_once(
    rows: int,
) -> None:
    p = chances(missing=0.06)
    for seed in range(5):
        first, verdict = watch(p, rows, 24, seed)
        assert first == 1
        assert verdict.attribution[0][0] == "x0"


def test_one_missing_value_where_there_never_was_one_is_no_alarm() -> None:
    first, _ = watch(chances(missing=0.001), 1_000, 100, seed=3)
    assert first is None


def weather(days: int, rng: np.random.Generator, *, warmer: float = 0.0) -> Any:
    """Return a temperature that has a new mean each day, correlated with yesterday's."""
    mean, means = 0.0, []
    for _ in range(days):
        mean = 0.6 * mean + rng.normal(0, 0.8)
        means.append(mean)
    times = np.repeat(np.arange(days) * DAY, 800) + np.tile(np.arange(800) * 100, days)
    return times, np.repeat(means, 800) + rng.normal(0, 0.4, days * 800) + warmer


def days_to_alarm(
    reference: Reference, values: Any, policy: DriftPolicy, days: int, *, every: int = 1
) -> list[int]:
    state = drift.begin(reference, since=START, policy=policy)
    alarms = []
    for day in range(days):
        part = profile({"temp": values[day * 800 : day * 800 + 800 : every]}, reference)
        end = START + timedelta(days=day + 1)
        state, verdict = drift.update(state, reference, part, policy, end=end)
        if verdict.alarm:
            alarms.append(day + 1)
    return alarms


def test_weather_that_varies_as_it_always_did_is_no_drift() -> None:
    policy = DriftPolicy(threshold=threshold(every=30 * 86_400, window=DAY))
    alarms, blind, months = 0, 0, 40
    for seed in range(months):
        rng = np.random.default_rng(100 + seed)
        times, before = weather(60, rng)
        _, after = weather(30, rng)
        reference = build_reference({"temp": before}, times=START.timestamp() + times)
        alarms += len(days_to_alarm(reference, after, policy, 30))
        plain = build_reference({"temp": before})
        blind += len(days_to_alarm(plain, after, policy, 30))
    assert alarms <= binom.ppf(0.01, months * 30, 1 / 30)
    assert blind > 20 * months  # rows of one day are not independent


def test_neither_is_it_where_a_third_of_the_rows_is_sampled() -> None:
    policy = DriftPolicy(threshold=threshold(every=30 * 86_400, window=DAY))
    alarms, months = 0, 120
    for seed in range(months):
        rng = np.random.default_rng(300 + seed)
        times, before = weather(60, rng)
        _, after = weather(30, rng)
        reference = build_reference({"temp": before}, times=START.timestamp() + times)
        alarms += len(days_to_alarm(reference, after, policy, 30, every=3))
    assert alarms <= binom.ppf(0.01, months * 30, 1 / 30)


def test_a_new_climate_is_drift() -> None:
    policy = DriftPolicy(threshold=threshold(every=30 * 86_400, window=DAY))
    delays = []
    for seed in range(20):
        rng = np.random.default_rng(200 + seed)
        times, before = weather(60, rng)
        _, after = weather(30, rng, warmer=5.0)
        reference = build_reference({"temp": before}, times=START.timestamp() + times)
        found = days_to_alarm(reference, after, policy, 30)
        delays.append(found[0] if found else 99)
    assert np.median(delays) <= 10


def test_too_few_rows_wait_for_the_next_window() -> None:
    state = drift.begin(REFERENCE, since=START, policy=POLICY)
    p, rng = chances(), np.random.default_rng(5)
    quiet = window(p, 150, rng)
    end = START + timedelta(hours=1)
    same, verdict = drift.update(state, REFERENCE, quiet, POLICY, end=end)
    assert not verdict.judged
    assert same == state
    both = quiet + window(p, 150, rng)
    end += timedelta(hours=1)
    later, verdict = drift.update(same, REFERENCE, both, POLICY, end=end)
    assert verdict.judged
    assert (verdict.start, later.since) == (START, end)


def test_after_an_alarm_the_evidence_starts_from_nothing() -> None:
    state = drift.begin(REFERENCE, since=START, policy=POLICY)
    part = window(chances(1.0), 1_000, np.random.default_rng(6))
    end = START + timedelta(hours=1)
    state, verdict = drift.update(state, REFERENCE, part, POLICY, end=end)
    assert verdict.alarm
    assert state.log_r == [None] * COLUMNS


def test_a_state_survives_json() -> None:
    state = drift.begin(REFERENCE, since=START, policy=POLICY)
    part = window(chances(), 1_000, np.random.default_rng(7))
    state, _ = drift.update(state, REFERENCE, part, POLICY, end=START + timedelta(hours=1))
    assert msgspec.json.decode(msgspec.json.encode(state), type=DriftState) == state


def test_importance_decides_what_may_alarm() -> None:
    ignored = DriftPolicy(seconds=HOUR, threshold=A, weights={"x0": 0.0})
    state = drift.begin(REFERENCE, since=START, policy=ignored)
    part = window(chances(2.0), 1_000, np.random.default_rng(8))
    end = START + timedelta(hours=1)
    assert not drift.update(state, REFERENCE, part, ignored, end=end)[1].alarm


def test_a_state_of_another_reference_is_refused() -> None:
    other = build_reference({"x": [1.0, 2.0]})
    state = drift.begin(other, since=START, policy=POLICY)
    part = window(chances(), 1_000, np.random.default_rng(9))
    with pytest.raises(Invalid, match="edges"):
        drift.update(state, REFERENCE, part, POLICY, end=START + timedelta(hours=1))


def test_the_first_window_judged_is_a_whole_one() -> None:
    daily = DriftPolicy()
    for since, first in ((0, 0), (1, 1), (23, 1), (24, 1)):
        state = drift.begin(REFERENCE, since=START + timedelta(hours=since), policy=daily)
        assert state.since == START + timedelta(days=first)


def test_windows_end_on_the_grid_and_only_when_over() -> None:
    now = START + timedelta(hours=3, minutes=59)
    found = list(drift.ends(START + timedelta(minutes=5), now, HOUR))
    assert found == [START + timedelta(hours=h) for h in (1, 2, 3)]
    assert list(drift.ends(START, now, HOUR, after=2 * HOUR)) == found[:1]
    assert list(drift.ends(START, START, HOUR)) == []
