"""Quality of predictions: the value of a metric and each row's influence on it.

A metric's uncertainty comes from its influence function: to first order the value is an
average of one number a row, so its standard error is their standard deviation over √n, and
the difference of two models on the same rows is the average of the differences. One
mechanism gives intervals, paired comparisons and slices, without resampling and without
randomness; for ROC AUC it is DeLong's method.

Sources: DeLong, DeLong & Clarke-Pearson 1988, computed as in Sun & Xu 2014 (AUC); van der
Vaart, *Asymptotic Statistics*, ch. 20 (influence functions); the one of average precision
is derived in `_average_precision`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from setpoint.errors import Invalid

Floats = NDArray[np.float64]
_TINY = 1e-15  #: probabilities are kept this far from 0 and 1 in the log loss


class Measured(NamedTuple):
    """A metric on some rows."""

    value: float  #: NaN where it is not defined, e.g. AUC with one class
    influence: Floats  #: [n]; mean 0
    size: int  #: rows that carry the value: the rarer class for AUC, positives for recall


def measure(metric: str, label: Floats, score: Floats, threshold: float = 0.5) -> Measured:
    """Return the value of a metric and each row's influence on it.

    Args:
        metric: One of `METRICS`.
        label: [n] truth: 0 and 1, or values.
        score: [n] the positive class's probability, or the predicted value; finite.
        threshold: From which score on a row counts as positive, for accuracy, precision,
            recall and F1.

    Raises:
        Invalid: If there is no such metric or the lengths differ.

    >>> label = np.array([0.0, 0.0, 1.0, 1.0])
    >>> measure("roc_auc", label, np.array([0.1, 0.4, 0.35, 0.8])).value
    0.75
    """
    if metric not in METRICS:
        raise Invalid(f"no metric {metric!r}", hint=f"there are {', '.join(sorted(METRICS))}")
    if label.shape != score.shape or label.ndim != 1:
        raise Invalid(f"{label.shape} labels for {score.shape} scores")
    if metric in _AT_THRESHOLD:
        score = (score >= threshold).astype(np.float64)
    if not label.size:
        return _undefined(label)
    return METRICS[metric](label, score)


def _undefined(label: Floats) -> Measured:
    return Measured(float("nan"), np.zeros_like(label), 0)


def _mean(values: Floats) -> Measured:
    value = float(values.mean())
    return Measured(value, values - value, values.size)


def _ratio(above: Floats, below: Floats, size: int) -> Measured:
    """Return Σ above / Σ below, by the delta method for a ratio of means."""
    mean = float(below.mean())
    if mean == 0:
        return _undefined(above)
    value = float(above.mean()) / mean
    return Measured(value, (above - value * below) / mean, size)


def _roc_auc(label: Floats, score: Floats) -> Measured:
    """Return the chance that a positive scores above a negative; ties count half."""
    positive = label > 0
    m, n = int(positive.sum()), int((~positive).sum())
    if not (m and n):
        return _undefined(label)
    among_all = rankdata(score)
    placement = np.empty(label.size)
    placement[positive] = (among_all[positive] - rankdata(score[positive])) / n
    placement[~positive] = 1 - (among_all[~positive] - rankdata(score[~positive])) / m
    value = float(placement[positive].mean())
    share = np.where(positive, label.size / m, label.size / n)
    return Measured(value, (placement - value) * share, min(m, n))


def _average_precision(label: Floats, score: Floats) -> Measured:
    """Return the mean over positives of the precision at their score.

    With π the share of positives, B(t) the share of rows scoring at least t and p(t) the
    precision there, the influence of a row (s, y) is ::

        y (p(s) − AP) / π + E over positives with score t ≤ s of (y − p(t)) / B(t)

    the first term for where it stands, the second for what it does to everyone below it
    (the derivative of the ratio p = A / B).
    """
    positive = label > 0
    m, n = int(positive.sum()), label.size
    if not m:
        return _undefined(label)
    order = np.argsort(-score, kind="stable")
    y = positive[order].astype(np.float64)
    last = np.append(score[order][1:] != score[order][:-1], True)
    group = np.append(0, np.cumsum(last)[:-1])  # equal scores are one threshold
    rows = np.arange(1, n + 1)[last][group]
    precision = np.cumsum(y)[last][group] / rows
    value = float((y * precision).sum() / m)
    first = np.flatnonzero(np.append(True, last[:-1]))[group]

    def below(values: Floats) -> Floats:  # sum over positives at this score or lower
        total: Floats = np.cumsum(values[::-1])[::-1][first]
        return total

    each = y * n / rows
    influence = np.empty(n)
    influence[order] = (
        n / m * (y * (precision - value) + (y * below(each) - below(each * precision)) / n)
    )
    return Measured(value, influence, m)


def _precision(label: Floats, guess: Floats) -> Measured:
    return _ratio(label * guess, guess, int(guess.sum()))


def _recall(label: Floats, guess: Floats) -> Measured:
    return _ratio(label * guess, label, int(label.sum()))


def _f1(label: Floats, guess: Floats) -> Measured:
    return _ratio(2 * label * guess, label + guess, int(label.sum()))


def _log_loss(label: Floats, score: Floats) -> Measured:
    sure = np.clip(score, _TINY, 1 - _TINY)
    return _mean(-np.log(np.where(label > 0, sure, 1 - sure)))


def _rmse(label: Floats, score: Floats) -> Measured:
    square = _mean((label - score) ** 2)
    value = square.value**0.5
    return Measured(value, square.influence / (2 * value or 1.0), label.size)


def _r2(label: Floats, score: Floats) -> Measured:
    spread = (label - label.mean()) ** 2
    lost = _ratio((label - score) ** 2, spread, label.size)
    return Measured(1 - lost.value, -lost.influence, label.size)


_AT_THRESHOLD = frozenset({"accuracy", "precision", "recall", "f1"})
METRICS: dict[str, Callable[[Floats, Floats], Measured]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "accuracy": lambda label, guess: _mean((label == guess).astype(np.float64)),
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "log_loss": _log_loss,
    "brier": lambda label, score: _mean((label - score) ** 2),
    "r2": _r2,
    "rmse": _rmse,
    "mae": lambda label, score: _mean(np.abs(label - score)),
}
#: Metrics of which less is better.
LOSSES = frozenset({"log_loss", "brier", "rmse", "mae"})
#: Metrics between 0 and 1, whose intervals are made on the logit scale.
SHARES = frozenset({"roc_auc", "average_precision", "accuracy", "precision", "recall", "f1"})
