"""How sure a metric is: intervals for one model, and for the difference of two.

Rows close in time are right or wrong together: one storm makes a morning's flights late. Where
the times of rows are given, the standard error is the cluster-robust one (Liang & Zeger 1986,
Biometrika 73, 13-22) over blocks of an hour, of six hours and of a day: the jackknife's, with
Student's quantile for the number of blocks, which holds best where they are few (MacKinnon,
Nielsen & Webb 2023, Journal of Econometrics 232, 272-299).
Whichever is the widest counts, rows alone included: too short a block looks too sure, a longer
one that was not needed costs little. A length with fewer than ten blocks tells nothing.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit
from scipy.stats import beta, norm

from setpoint.models.metrics import LOSSES, SHARES, Floats, Measured, measure

Times = NDArray[np.int64]  #: microseconds since 1970

_HOUR = 3_600_000_000
LENGTHS = (_HOUR, 6 * _HOUR, 24 * _HOUR)  #: of the blocks that are tried
_LEAST_BLOCKS = 10


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
    metric: str,
    label: Floats,
    score: Floats,
    *,
    confidence: float,
    threshold: float = 0.5,
    times: Times | None = None,
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
        times: [n] when each row was; None where rows are independent.

    >>> rng = np.random.default_rng(7)
    >>> label = (rng.random(2000) < 0.3).astype(float)
    >>> found = estimate("roc_auc", label, label + rng.normal(size=2000), confidence=0.95)
    >>> round(found.low, 3), round(found.value, 3), round(found.high, 3)
    (0.738, 0.757, 0.776)
    """
    found = measure(metric, label, score, threshold)
    if not math.isfinite(found.value):
        return Estimate(value=math.nan, low=math.nan, high=math.nan, rows=label.size)
    low, high = _bounds(metric, found, confidence, times)
    return Estimate(value=found.value, low=low, high=high, rows=label.size)


def improvement(
    metric: str,
    label: Floats,
    score: Floats,
    other: Floats,
    *,
    confidence: float,
    times: Times | None = None,
) -> Estimate:
    """Return how much better `score` is than `other` on the same rows, with its bounds.

    Positive is better, for losses too (then it is how much the loss is lower). Paired: what
    makes rows hard for both models cancels out, so that far smaller differences show than
    by comparing two intervals. For ROC AUC of independent rows this is DeLong's test. Each
    bound holds with `confidence` by itself. For `times` see `estimate`.
    """
    one, two = measure(metric, label, score), measure(metric, label, other)
    sign = -1.0 if metric in LOSSES else 1.0
    value = sign * (one.value - two.value)
    if not math.isfinite(value):
        return Estimate(value=math.nan, low=math.nan, high=math.nan, rows=label.size)
    margin = reach(one.influence - two.influence, confidence, times)
    return Estimate(value=value, low=value - margin, high=value + margin, rows=label.size)


def mean_change(
    new: Floats, old: Floats, *, confidence: float, times: Times | None = None
) -> Estimate:
    """Return by what share the mean of `new` differs from that of `old`, row by row paired.

    0.05 is a rise by 5 %. The bounds are the delta method's for a ratio of means; undefined
    where the old mean is 0. For `times` see `estimate`.
    """
    base = float(old.mean()) if old.size else 0.0
    if base == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, rows=old.size)
    ratio = float(new.mean()) / base
    margin = reach((new - ratio * old) / base, confidence, times)
    sign = math.copysign(1.0, base)
    value = sign * (ratio - 1)
    return Estimate(value=value, low=value - margin, high=value + margin, rows=old.size)


def reach(influence: Floats, confidence: float, times: Times | None = None) -> float:
    """Return how far a bound lies from the value whose `influence` of each row this is.

    Args:
        influence: [n] of mean 0.
        confidence: Of the bound.
        times: [n] when each row was; None where rows are independent.
    """
    found = float(norm.ppf(confidence)) * _standard_error(influence)
    for length in LENGTHS if times is not None else ():
        _, block = np.unique(times // length, return_inverse=True)  # type: ignore[operator]
        sums = np.bincount(block, weights=influence)
        count = sums.size
        if count >= _LEAST_BLOCKS:
            error = math.sqrt(float(sums @ sums)) * count / (count - 1) / influence.size
            found = max(found, float(stdtrit(count - 1, confidence)) * error)
    return found


def _standard_error(influence: Floats) -> float:
    if influence.size < 2:
        return math.inf
    return float(np.sqrt(np.mean(influence**2) / (influence.size - 1)))


def _bounds(
    metric: str, found: Measured, confidence: float, times: Times | None
) -> tuple[float, float]:
    value, far = found.value, reach(found.influence, confidence, times)
    if metric in SHARES:
        if value in {0.0, 1.0} or far == 0:
            hits = round(value * found.size)
            return _clopper_pearson(hits, found.size, confidence)
        margin = far / (value * (1 - value))
        return float(expit(logit(value) - margin)), float(expit(logit(value) + margin))
    if metric in LOSSES and value > 0:
        return value * math.exp(-far / value), value * math.exp(far / value)
    return value - far, value + far


def _clopper_pearson(hits: int, size: int, confidence: float) -> tuple[float, float]:
    low = beta.ppf(1 - confidence, hits, size - hits + 1) if hits else 0.0
    high = beta.ppf(confidence, hits + 1, size - hits) if hits < size else 1.0
    return float(low), float(high)
