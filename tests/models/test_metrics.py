"""Metrics: the values are scikit-learn's, the standard errors the bootstrap's."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from setpoint.errors import Invalid
from setpoint.models.metrics import LOSSES, METRICS, SHARES, Floats, measure


def sample(n: int, *, ties: bool) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(11)
    label = (rng.random(n) < 0.3).astype(np.float64)
    score = 1 / (1 + np.exp(-(label - 1 + rng.normal(size=n))))
    return label, np.round(score, 1) if ties else score


EXPECTED = {
    "roc_auc": reference.roc_auc_score,
    "average_precision": reference.average_precision_score,
    "accuracy": lambda y, s: reference.accuracy_score(y, s >= 0.5),
    "precision": lambda y, s: reference.precision_score(y, s >= 0.5),
    "recall": lambda y, s: reference.recall_score(y, s >= 0.5),
    "f1": lambda y, s: reference.f1_score(y, s >= 0.5),
    "log_loss": lambda y, s: reference.log_loss(y, np.clip(s, 1e-15, 1 - 1e-15)),
    "brier": reference.brier_score_loss,
    "r2": reference.r2_score,
    "rmse": reference.root_mean_squared_error,
    "mae": reference.mean_absolute_error,
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("metric", sorted(METRICS))
def test_the_value_is_the_one_scikit_learn_computes(metric: str, *, ties: bool) -> None:
    label, score = sample(500, ties=ties)
    assert measure(metric, label, score).value == pytest.approx(EXPECTED[metric](label, score))


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_the_influence_has_mean_zero_and_the_bootstraps_standard_error(metric: str) -> None:
    label, score = sample(800, ties=True)
    influence = measure(metric, label, score).influence
    rng = np.random.default_rng(5)
    draws = [rng.integers(0, label.size, label.size) for _ in range(400)]
    again = [measure(metric, label[at], score[at]).value for at in draws]
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    assert influence.std() / math.sqrt(label.size) == pytest.approx(np.std(again), rel=0.15)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "recall"])
def test_without_positives_the_metric_is_not_defined(metric: str) -> None:
    assert math.isnan(measure(metric, np.zeros(5), np.linspace(0, 1, 5)).value)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_no_rows_are_no_error(metric: str) -> None:
    assert math.isnan(measure(metric, np.empty(0), np.empty(0)).value)


def test_a_certain_and_wrong_probability_costs_much_but_not_everything() -> None:
    found = measure("log_loss", np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert found.value == pytest.approx(-math.log(1e-15), rel=1e-4)


def test_a_perfect_regression_has_no_error_and_no_division_by_it() -> None:
    label = np.arange(10.0)
    assert measure("rmse", label, label).value == 0
    assert measure("r2", label, label).value == 1


def test_an_unknown_metric_is_refused_with_the_list() -> None:
    with pytest.raises(Invalid, match="no metric 'auc'") as refused:
        measure("auc", np.zeros(2), np.zeros(2))
    assert "roc_auc" in refused.value.hint


def test_labels_and_scores_of_different_lengths_are_refused() -> None:
    with pytest.raises(Invalid, match="labels for"):
        measure("mae", np.zeros(2), np.zeros(3))


def test_every_loss_and_share_is_a_metric() -> None:
    assert set(METRICS) >= LOSSES | SHARES
