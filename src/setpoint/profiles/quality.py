"""Quality of a binary classifier from its joint histogram, with standard errors."""

from collections.abc import Callable
from math import exp, hypot, log, sqrt
from statistics import NormalDist

import numpy as np
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.profiles.joint import NEGATIVE, POSITIVE, PREDICTED, Joint, finite
from setpoint.profiles.values import Floats

_LEAST = 2.0**-32
HIGHER_IS_BETTER = {
    "roc_auc": True,
    "accuracy": True,
    "f1": True,
    "log_loss": False,
    "brier": False,
    "calibration_error": False,
}


class Estimate(Struct, frozen=True, kw_only=True):
    """A metric of one window, and how sure it is."""

    metric: str
    value: float | None  #: None where it can't be known, e.g. AUC with one class
    se: float  #: standard error; 0 where unknown
    n: int  #: labels it rests on
    positives: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Return the interval of `confidence`; AUC's by the logit, so within (0, 1)."""
        if self.value is None:
            return None
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        if self.metric == "roc_auc" and 0 < self.value < 1:
            middle = log(self.value / (1 - self.value))
            reach = z * self.se / (self.value * (1 - self.value))
            return _logistic(middle - reach), _logistic(middle + reach)
        low, high = self.value - z * self.se, self.value + z * self.se
        return max(low, 0.0), high if self.metric == "log_loss" else min(high, 1.0)


class Table(Struct, frozen=True):
    """Labels by score bin, real or expected; with the mean scores of each class."""

    negatives: Floats
    positives: Floats
    score0: Floats
    score1: Floats


def measure(joint: Joint, metric: str, *, threshold: float = 0.5) -> Estimate:
    """Return a metric of the labelled predictions.

    Args:
        joint: Of one window, or of many added.
        metric: ``roc_auc``, ``accuracy``, ``f1``, ``log_loss``, ``brier`` or
            ``calibration_error`` (mean gap of score and frequency over ten groups).
        threshold: Score from which the answer is yes, for accuracy and F1.

    Raises:
        Invalid: If the metric is none of these.
    """
    table = _table(joint)
    value, se = _value(table, metric, threshold)
    return Estimate(metric=metric, value=value, se=se, n=joint.labelled, positives=joint.positives)


class Groups(Struct, frozen=True):
    """Labelled predictions in groups of ascending score, about equally many in each."""

    rows: Floats
    score: Floats  #: mean of each group
    positives: Floats  #: share of each group


def calibration(joint: Joint) -> Groups:
    """Return how often it happened against how likely it was said to be, in ten groups.

    A bin of equal scores is never cut, so that there may be fewer groups; none without labels.
    """
    table = _table(joint)
    return _grouped(table) if joint.labelled else Groups(np.empty(0), np.empty(0), np.empty(0))


def _table(joint: Joint) -> Table:
    counts, means = finite(joint)
    return Table(counts[NEGATIVE], counts[POSITIVE], means[NEGATIVE], means[POSITIVE])


Measured = tuple[float | None, float]


def _value(table: Table, metric: str, threshold: float) -> Measured:
    find = _METRICS.get(metric)
    if find is None:
        raise Invalid(
            f"no metric {metric!r} for a classifier's quality",
            hint=f"use one of {', '.join(_METRICS)}",
        )
    if not table.negatives.sum() + table.positives.sum():
        return None, 0.0
    return find(table, threshold)


def auc(negatives: Floats, positives: Floats) -> Measured:
    """Return AUC and its standard error from counts by ascending score bin.

    Ties within a bin count half. The error is DeLong's (1988), Biometrics 44, 837-845;
    where there are too few for it (under 10 of a class), Hanley and McNeil's (1982).
    """
    n0, n1 = float(negatives.sum()), float(positives.sum())
    if not n0 or not n1:
        return None, 0.0
    below = (np.cumsum(negatives) - negatives / 2) / n0  # of each positive's bin
    above = 1 - (np.cumsum(positives) - positives / 2) / n1  # of each negative's bin
    value = float(positives @ below / n1)
    if min(n0, n1) < 10:
        return value, hanley_mcneil(value, n0, n1)
    spread1 = float(positives @ (below - value) ** 2) / (n1 - 1)
    spread0 = float(negatives @ (above - value) ** 2) / (n0 - 1)
    return value, sqrt(spread1 / n1 + spread0 / n0)


def hanley_mcneil(value: float, n0: float, n1: float) -> float:
    """Return the standard error of an AUC from class sizes (Radiology 143, 29-36)."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    square = value * (1 - value) + (n1 - 1) * (q1 - value**2) + (n0 - 1) * (q2 - value**2)
    return sqrt(max(square, 0.0) / (n0 * n1))


def calibrate(reference: Joint) -> Floats:
    """Return the chance of a positive by score bin, as the reference's labels have it.

    Isotonic: pools adjacent violators, so that a higher score never means a lower chance.
    Bins without labels take the value between their neighbours'.
    """
    counts, _ = finite(reference)
    n = counts[NEGATIVE] + counts[POSITIVE]
    some = np.flatnonzero(n)
    if not len(some):
        raise Invalid("the reference has no labels: nothing to calibrate the estimate with")
    blocks: list[list[float]] = []  # positives, rows, bins
    for bin_ in some:
        blocks.append([float(counts[POSITIVE, bin_]), float(n[bin_]), 1.0])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= (blocks[-1][0] * blocks[-2][1]):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    chances = np.repeat([b[0] / b[1] for b in blocks], [int(b[2]) for b in blocks])
    found: Floats = np.interp(np.arange(len(n)), some, chances)
    return found


def estimate(
    joint: Joint, reference: Joint, metric: str = "roc_auc", *, threshold: float = 0.5
) -> Estimate:
    """Estimate a metric of predictions without labels (CBPE), from calibrated scores.

    Valid as long as only the inputs' distribution changes, not what they mean: it never
    overrules labels. The error combines the window's sampling error and the reference's.

    Args:
        joint: The window; only its predictions are used.
        reference: Held-out scores and labels of the version.
        metric: As for `measure`.
        threshold: As for `measure`.

    Raises:
        Invalid: If the reference has no labels.
    """
    chance = calibrate(reference)
    counts, means = finite(joint)
    n, mean = counts[PREDICTED], means[PREDICTED]
    table = Table(n * (1 - chance), n * chance, mean, mean)
    value, se = _value(table, metric, threshold)
    base = measure(reference, metric, threshold=threshold)
    return Estimate(
        metric=metric,
        value=value,
        se=hypot(se, base.se),
        n=int(n.sum()),
        positives=round(float(table.positives.sum())),
    )


def _roc_auc(table: Table, _: float) -> Measured:
    return auc(table.negatives, table.positives)


def _accuracy(table: Table, threshold: float) -> Measured:
    right = float(table.positives[table.score1 >= threshold].sum())
    right += float(table.negatives[table.score0 < threshold].sum())
    n = float(table.negatives.sum() + table.positives.sum())
    value = right / n
    return value, sqrt(value * (1 - value) / n)


def _f1(table: Table, threshold: float) -> Measured:
    """F1 with the delta method's error, given the multinomial of the four cells."""
    hit = float(table.positives[table.score1 >= threshold].sum())
    false = float(table.negatives[table.score0 >= threshold].sum())
    wrong = false + float(table.positives.sum()) - hit
    n = float(table.negatives.sum() + table.positives.sum())
    if not hit + wrong:
        return None, 0.0
    value = 2 * hit / (2 * hit + wrong)
    p, q = hit / n, wrong / n
    dp, dq = 2 * q / (2 * p + q) ** 2, -2 * p / (2 * p + q) ** 2
    square = dp * dp * p + dq * dq * q - (dp * p + dq * q) ** 2
    return value, sqrt(max(square, 0.0) / n)


def _mean_loss(table: Table, loss0: Floats, loss1: Floats) -> Measured:
    n = float(table.negatives.sum() + table.positives.sum())
    value = float(table.negatives @ loss0 + table.positives @ loss1) / n
    square = float(table.negatives @ loss0**2 + table.positives @ loss1**2) / n
    return value, sqrt(max(square - value**2, 0.0) / n)


def _log_loss(table: Table, _: float) -> Measured:
    loss0 = -np.log(np.clip(1 - table.score0, _LEAST, 1))
    return _mean_loss(table, loss0, -np.log(np.clip(table.score1, _LEAST, 1)))


def _brier(table: Table, _: float) -> Measured:
    return _mean_loss(table, table.score0**2, (1 - table.score1) ** 2)


def _calibration_error(table: Table, _: float) -> Measured:
    """Expected calibration error over ten groups of equal numbers, as far as bins allow."""
    found = _grouped(table)
    total = float(found.rows.sum())
    gaps = found.rows * np.abs(found.score - found.positives)
    square = float((found.rows * found.positives * (1 - found.positives)).sum())
    return float(gaps.sum()) / total, sqrt(square) / total


def _grouped(table: Table) -> Groups:
    n = table.negatives + table.positives
    group = np.minimum((np.cumsum(n) - n / 2) * 10 / n.sum(), 9).astype(np.int64)
    rows = np.bincount(group, n, 10)
    score = table.negatives * table.score0 + table.positives * table.score1
    some = rows > 0
    return Groups(
        rows=rows[some].astype(np.float64),
        score=np.bincount(group, score, 10)[some] / rows[some],
        positives=np.bincount(group, table.positives, 10)[some] / rows[some],
    )


_METRICS: dict[str, Callable[[Table, float], Measured]] = {
    "roc_auc": _roc_auc,
    "accuracy": _accuracy,
    "f1": _f1,
    "log_loss": _log_loss,
    "brier": _brier,
    "calibration_error": _calibration_error,
}


def _logistic(x: float) -> float:
    return 1 / (1 + exp(-x))
