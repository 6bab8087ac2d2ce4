"""Intervals where rows go together: each covers the truth as often as it says, by counting.

Two weeks of rows are drawn as flights are: many are late on some days, in some blocks of six
hours and in some hours, and what a model knows then helps more or less.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from setpoint.models.intervals import Times, estimate, improvement, mean_change
from setpoint.models.metrics import Floats

SURE = 0.975  #: of each bound, so that both hold with 95 %
RUNS, DAYS, AN_HOUR = 400, 14, 12
HOUR = 3_600_000_000


class Rows(NamedTuple):
    times: Times
    label: Floats
    one: Floats
    two: Floats  #: as good as `one`, on the whole


def draw(rng: np.random.Generator, days: int = DAYS) -> Rows:
    hour = np.repeat(np.arange(days * 24), AN_HOUR)

    def together(of_day: float, of_block: float, of_hour: float) -> Floats:
        effect = rng.normal(0, of_day, days)[hour // 24]
        effect = effect + rng.normal(0, of_block, days * 4)[hour // 6]
        return np.asarray(effect + rng.normal(0, of_hour, days * 24)[hour])

    first, second = rng.normal(0, 0.6, (2, hour.size))
    helps = first * (0.9 + together(0.3, 0.5, 0.2)) + second * (0.9 + together(0.3, 0.5, 0.2))
    truth = -1.0 + together(0.5, 0.5, 0.3) + helps
    label = (rng.random(hour.size) < 1 / (1 + np.exp(-truth))).astype(np.float64)

    def score(known: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(1.0 - known - together(0.1, 0.3, 0.2))))

    times = hour * HOUR + rng.integers(0, HOUR, hour.size)
    return Rows(times, label, score(1.1 * first + 0.6 * second), score(0.6 * first + 1.1 * second))


def truth(metric: str) -> float:
    rows = draw(np.random.default_rng(0), days=3000)
    return estimate(metric, rows.label, rows.one, confidence=SURE).value


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "f1", "log_loss", "brier"])
def test_intervals_by_blocks_cover_the_truth_where_those_of_rows_do_not(metric: str) -> None:
    rng, true = np.random.default_rng(5), truth(metric)
    by_blocks = by_rows = 0
    for _ in range(RUNS):
        rows = draw(rng)
        alone = estimate(metric, rows.label, rows.one, confidence=SURE)
        found = estimate(metric, rows.label, rows.one, confidence=SURE, times=rows.times)
        by_rows += alone.low <= true <= alone.high
        by_blocks += found.low <= true <= found.high
    assert by_blocks >= 0.93 * RUNS
    assert by_rows <= 0.80 * RUNS


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_equal_models_are_seldom_called_better(metric: str) -> None:
    rng = np.random.default_rng(6)
    by_blocks = by_rows = 0
    for _ in range(RUNS):
        rows = draw(rng)
        pair = (metric, rows.label, rows.one, rows.two)
        by_rows += improvement(*pair, confidence=0.95).low > 0
        by_blocks += improvement(*pair, confidence=0.95, times=rows.times).low > 0
    assert binom.sf(by_blocks - 1, RUNS, 0.05) > 0.01
    assert by_rows > 0.1 * RUNS


def test_the_change_of_a_mean_is_as_uncertain_as_its_blocks() -> None:
    rows = draw(np.random.default_rng(7))
    new, old = (rows.one - rows.label) ** 2, (rows.two - rows.label) ** 2
    alone = mean_change(new, old, confidence=SURE)
    found = mean_change(new, old, confidence=SURE, times=rows.times)
    assert found.value == alone.value
    assert found.high - found.low > 1.5 * (alone.high - alone.low)


def test_rows_that_do_not_go_together_lose_little() -> None:
    rng = np.random.default_rng(8)
    wider = []
    for _ in range(50):
        label = (rng.random(4_000) < 0.3).astype(np.float64)
        score = label + rng.normal(size=label.size)
        times = rng.integers(0, 14 * 24 * HOUR, label.size)
        alone = estimate("roc_auc", label, score, confidence=SURE)
        found = estimate("roc_auc", label, score, confidence=SURE, times=times)
        wider.append((found.high - found.low) / (alone.high - alone.low))
    assert np.median(wider) < 1.3
    assert min(wider) >= 1


def test_a_few_blocks_tell_nothing() -> None:
    rows = draw(np.random.default_rng(9))
    at_once = estimate(
        "roc_auc", rows.label, rows.one, confidence=SURE, times=np.zeros_like(rows.times)
    )
    assert at_once == estimate("roc_auc", rows.label, rows.one, confidence=SURE)
