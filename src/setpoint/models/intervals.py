"""How sure a metric is: intervals for one model, and for the difference of two."""

import math

import numpy as np
from msgspec import Struct
from scipy.special import expit, logit
from scipy.stats import beta, norm

from setpoint.models.metrics import LOSSES, SHARES, Floats, Measured, measure


class Estimate(Struct, frozen=True, kw_only=True):
    """A value with its bounds; all NaN where the metric is not defined on the rows."""

    value: float
    low: float
    high: float
    rows: int

    @property
    def defined(self) -> bool:
        """Whether there is a value at all."""
        return math.isfinite(self.value)


def estimate(
    metric: str, label: Floats, score: Floats, *, confidence: float, threshold: float = 0.5
) -> Estimate:
    """Return a metric with the bounds that hold, each by itself, with `confidence`.

    `low` is below the truth with this confidence and so is `high` above it: the error rate
    of a decision that needs one of them is 1 − `confidence`; both at once hold with
    2 × `confidence` − 1. Shares (AUC, accuracy, …) are bounded on the logit scale, losses
    on the log scale, which keeps the bounds in range and their coverage near the nominal
    one from about 20 rows of the rarer class on; at exactly 0 or 1 the bound is Clopper
    and Pearson's.

    Args:
        metric: One of `metrics.METRICS`.
        label: [n] truth.
        score: [n] predictions; finite.
        confidence: Of each bound, in (0, 1), e.g. 0.95.
        threshold: See `metrics.measure`.

    >>> rng = np.random.default_rng(7)
    >>> label = (rng.random(2000) < 0.3).astype(float)
    >>> found = estimate("roc_auc", label, label + rng.normal(size=2000), confidence=0.95)
    >>> round(found.low, 3), round(found.value, 3), round(found.high, 3)
    (0.738, 0.757, 0.776)
    """
    found = measure(metric, label, score, threshold)
    if not math.isfinite(found.value):
        return Estimate(value=math.nan, low=math.nan, high=math.nan, rows=label.size)
    low, high = _bounds(metric, found, confidence)
    return Estimate(value=found.value, low=low, high=high, rows=label.size)


def improvement(
    metric: str,
    label: Floats,
    score: Floats,
    other: Floats,
    *,
    confidence: float,
) -> Estimate:
    """Return how much better `score` is than `other` on the same rows, with its bounds.

    Positive is better, for losses too (then it is how much the loss is lower). Paired: what
    makes rows hard for both models cancels out, so that far smaller differences show than
    by comparing two intervals. For ROC AUC this is DeLong's test. Bounds are normal, each
    with `confidence` by itself.
    """
    one, two = measure(metric, label, score), measure(metric, label, other)
    sign = -1.0 if metric in LOSSES else 1.0
    value = sign * (one.value - two.value)
    if not math.isfinite(value):
        return Estimate(value=math.nan, low=math.nan, high=math.nan, rows=label.size)
    margin = norm.ppf(confidence) * _standard_error(one.influence - two.influence)
    return Estimate(value=value, low=value - margin, high=value + margin, rows=label.size)


def mean_change(new: Floats, old: Floats, *, confidence: float) -> Estimate:
    """Return by what share the mean of `new` differs from that of `old`, row by row paired.

    0.05 is a rise by 5 %. The bounds are the delta method's for a ratio of means; undefined
    where the old mean is 0.
    """
    base = float(old.mean()) if old.size else 0.0
    if base == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, rows=old.size)
    ratio = float(new.mean()) / base
    margin = norm.ppf(confidence) * _standard_error((new - ratio * old) / base)
    sign = math.copysign(1.0, base)
    value = sign * (ratio - 1)
    return Estimate(value=value, low=value - margin, high=value + margin, rows=old.size)


def _standard_error(influence: Floats) -> float:
    if influence.size < 2:
        return math.inf
    return float(np.sqrt(np.mean(influence**2) / (influence.size - 1)))


def _bounds(metric: str, found: Measured, confidence: float) -> tuple[float, float]:
    value, error = found.value, _standard_error(found.influence)
    z = float(norm.ppf(confidence))
    if metric in SHARES:
        if value in {0.0, 1.0} or error == 0:
            hits = round(value * found.size)
            return _clopper_pearson(hits, found.size, confidence)
        margin = z * error / (value * (1 - value))
        return float(expit(logit(value) - margin)), float(expit(logit(value) + margin))
    if metric in LOSSES and value > 0:
        return value * math.exp(-z * error / value), value * math.exp(z * error / value)
    return value - z * error, value + z * error


def _clopper_pearson(hits: int, size: int, confidence: float) -> tuple[float, float]:
    low = beta.ppf(1 - confidence, hits, size - hits + 1) if hits else 0.0
    high = beta.ppf(confidence, hits + 1, size - hits) if hits < size else 1.0
    return float(low), float(high)
