from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from setpoint.monitor import errors
from setpoint.monitor.errors import ErrorPolicy, ErrorState, ErrorVerdict
from setpoint.monitor.rules import describe_errors

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(minutes=15)


def judge(counts: list[tuple[int, int]], policy: ErrorPolicy) -> list[ErrorVerdict]:
    state, verdicts = ErrorState(since=START), []
    for at, (requests, failed) in enumerate(counts):
        end = START + (at + 1) * WINDOW
        state, verdict = errors.update(state, requests, failed, policy, end=end)
        verdicts.append(verdict)
    return verdicts


@pytest.mark.parametrize(("rate", "requests"), [(0.001, 200), (0.02, 100), (0.2, 40)])
def test_at_the_ceiling_false_alarms_keep_to_the_budget(rate: float, requests: int) -> None:
    windows, lives, threshold = 50, 300, 500.0
    policy = ErrorPolicy(at_most=rate, threshold=threshold)
    failed = np.random.default_rng(7).binomial(requests, rate, (lives, windows)).tolist()
    alarmed = sum(
        any(v.alarm for v in judge([(requests, k) for k in life], policy)) for life in failed
    )
    at_most = windows / threshold  # chance that a life of so many windows has a false alarm
    assert alarmed <= binom.ppf(0.999, lives, at_most)


@pytest.mark.parametrize(("times", "windows"), [(1.5, 40), (2.0, 12), (5.0, 2), (50.0, 1)])
def test_more_failures_than_allowed_are_found_sooner_the_more_there_are(
    times: float, windows: int
) -> None:
    policy = ErrorPolicy(at_most=0.01, threshold=4 * 24 * 30 / 0.2)  # one a month, a fifth of it
    rng = np.random.default_rng(8)
    delays = []
    for _ in range(60):
        counts = [(500, int(k)) for k in rng.binomial(500, 0.01 * times, 400)]
        delays.append(next(i for i, v in enumerate(judge(counts, policy)) if v.alarm) + 1)
    assert np.median(delays) <= windows


def test_an_alarm_starts_the_evidence_anew_and_says_how_many_failed() -> None:
    policy = ErrorPolicy(at_most=0.001, threshold=1000)
    (first, second) = judge([(1000, 200), (1000, 0)], policy)
    assert (first.alarm, first.rate) == (True, 0.2)
    assert describe_errors(first) == (
        "200 of 1,000 requests (20.00%) failed or fell back to the baseline; at most 0.1% may"
    )
    assert not second.alarm
    assert second.evidence < 1
    assert second.start == first.end


def test_a_ceiling_of_nothing_alarms_at_the_first_failure() -> None:
    policy = ErrorPolicy(at_most=0.0, threshold=20_000)
    assert [v.alarm for v in judge([(50, 0), (50, 1)], policy)] == [False, True]


def test_a_small_excess_of_rare_failures_is_found_too() -> None:
    """Where a window has less than one failure on average, many of them tell."""
    policy = ErrorPolicy(at_most=0.001, threshold=4 * 24 * 30 * 6)
    rng = np.random.default_rng(9)
    delays = []
    for _ in range(20):
        counts = [(300, int(k)) for k in rng.binomial(300, 0.002, 1500)]
        delays.append(next(i for i, v in enumerate(judge(counts, policy)) if v.alarm) + 1)
    assert np.median(delays) <= 4 * 24 * 3, "three days"


@given(st.integers(1, 60), st.floats(0.0001, 0.9))
def test_a_bet_gains_nothing_on_average_at_the_ceiling(requests: int, rate: float) -> None:
    chances = binom.pmf(np.arange(requests + 1), requests, rate)
    gains = [np.exp(errors.log_e(requests, failed, rate)) for failed in range(requests + 1)]
    assert chances @ np.array(gains) == pytest.approx(1.0)
    assert (gains[0] <= 1).all(), "no failure is no evidence of more of them"


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=5))
def test_a_few_requests_wait_and_change_nothing(counts: list[tuple[int, int]]) -> None:
    few = [(n, min(k, n)) for n, k in counts]
    assert not any(v.judged or v.alarm for v in judge(few, ErrorPolicy(at_most=0.01)))
