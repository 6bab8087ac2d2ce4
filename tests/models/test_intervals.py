"""Intervals: each bound errs as often as it says, which a simulation counts."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from setpoint.models.intervals import estimate, improvement, mean_change
from setpoint.models.metrics import Floats

CONFIDENCE = 0.95
RUNS = 1_000


def allowed(runs: int = RUNS, rate: float = 1 - CONFIDENCE) -> tuple[float, float]:
    """Error counts that a bound of this rate stays within, 999 times of 1,000.

    The rate may be off by a fifth: bounds are asymptotic.
    """
    return binom.ppf(5e-4, runs, rate * 0.8), binom.ppf(1 - 5e-4, runs, rate * 1.2)


def draw(rng: np.random.Generator, n: int) -> tuple[Floats, Floats, Floats]:
    """Labels, and two scores of the same quality that err together."""
    label = (rng.random(n) < 0.25).astype(np.float64)
    shared = rng.normal(size=n)
    one, two = (1 / (1 + np.exp(1.2 - label - shared - 0.6 * rng.normal(size=n))) for _ in range(2))
    return label, one, two


def truth(metric: str) -> float:
    label, score, _ = draw(np.random.default_rng(0), 1_000_000)
    return estimate(metric, label, score, confidence=CONFIDENCE).value


@pytest.mark.parametrize(
    "metric", ["roc_auc", "average_precision", "accuracy", "f1", "log_loss", "brier", "rmse"]
)
def test_each_bound_of_a_metric_misses_the_truth_as_often_as_declared(metric: str) -> None:
    rng, true = np.random.default_rng(7), truth(metric)
    found = []
    for _ in range(RUNS):
        label, score, _ = draw(rng, 600)
        found.append(estimate(metric, label, score, confidence=CONFIDENCE))
    least, most = allowed()
    assert least <= sum(each.low > true for each in found) <= most
    assert least <= sum(each.high < true for each in found) <= most


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss", "f1"])
def test_equal_models_are_called_better_as_often_as_declared(metric: str) -> None:
    rng = np.random.default_rng(8)
    better = 0
    for _ in range(RUNS):
        label, one, two = draw(rng, 600)
        better += improvement(metric, label, one, two, confidence=CONFIDENCE).low > 0
    least, most = allowed()
    assert least <= better <= most


def test_pairing_shows_what_two_intervals_cannot() -> None:
    label, one, _ = draw(np.random.default_rng(9), 4_000)
    slightly = one + 0.02 * (label - 0.25)
    paired = improvement("roc_auc", label, slightly, one, confidence=CONFIDENCE)
    apart = [estimate("roc_auc", label, s, confidence=CONFIDENCE) for s in (slightly, one)]
    assert paired.low > 0
    assert apart[0].low < apart[1].high


def test_less_loss_is_an_improvement() -> None:
    label, score, _ = draw(np.random.default_rng(9), 500)
    assert improvement("log_loss", label, score, 1 - score, confidence=0.9).value > 0


def test_a_model_is_no_improvement_on_itself() -> None:
    label, score, _ = draw(np.random.default_rng(9), 500)
    found = improvement("roc_auc", label, score, score, confidence=0.95)
    assert (found.low, found.value, found.high) == (0, 0, 0)


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "average_precision"])
def test_a_perfect_score_on_few_rows_is_not_certain(metric: str) -> None:
    label = np.array([0.0] * 20 + [1.0] * 20)
    found = estimate(metric, label, label, confidence=CONFIDENCE)
    assert found.value == found.high == 1
    assert 0.8 < found.low < 0.95


def test_an_undefined_metric_has_no_bounds() -> None:
    found = estimate("roc_auc", np.zeros(9), np.linspace(0, 1, 9), confidence=0.95)
    assert not found.defined
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_change_of_a_mean_errs_as_often_as_declared() -> None:
    rng = np.random.default_rng(10)
    risen = 0
    for _ in range(RUNS):
        both = rng.exponential(size=500)
        new, old = both + rng.exponential(size=500), both + rng.exponential(size=500)
        risen += mean_change(new, old, confidence=CONFIDENCE).low > 0
    least, most = allowed()
    assert least <= risen <= most


def test_the_change_of_a_mean_of_nothing_is_not_defined() -> None:
    assert not mean_change(np.ones(5), np.zeros(5), confidence=0.9).defined
