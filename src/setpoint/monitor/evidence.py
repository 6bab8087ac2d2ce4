"""E-detectors: evidence of a change that may be looked at every window, without end.

Each window gives a p-value, turned into an e-value (its mean is at most 1 if nothing
changed), and the Shiryaev-Roberts recursion R' = (1 + R) e sums over all times at which the
change may have begun. If nothing changed, R grows by at most 1 a window on average: an
alarm at R >= A comes, on average, not before A windows. So A is the number of windows per
false alarm that one is ready to accept, and a budget such as one a month is a real setting.

Source: Shin, Ramdas, Rinaldo (2022), "E-detectors: a nonparametric framework for sequential
change detection", arXiv 2203.03532; the calibrator is Vovk and Wang's (2021), Annals of
Statistics 49, 1736-1754.
"""

from math import inf

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid

Floats = NDArray[np.float64]

_P_LEAST = 1e-10  # what the distribution functions can tell from zero
_MOST = 690.0  # of log R: exp of it is still finite


def log_e(p: Floats) -> Floats:
    """Return the log e-value of p-values: e = (1 - p + p log p) / (p log² p).

    At p = 0.5, 0.1, 0.01 and 0.001 it is 0.64, 1.26, 4.5 and 20.8. Below 1e-10 p is taken
    to be that, which errs on the side of no alarm.
    """
    p = np.clip(p, _P_LEAST, 1.0)
    rest = 1 - p
    log_p = np.log(p)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.log((rest + p * log_p) / (p * log_p**2))
    series = np.log(0.5 + rest / 6 - rest**2 / 24)  # near p = 1 the quotient is 0/0
    return np.where(rest < 1e-3, series, exact)


def shiryaev_roberts(log_r: Floats, log_value: Floats) -> Floats:
    """Return the next log R from the last one and the window's log e-value."""
    return np.minimum(np.logaddexp(0.0, log_r) + log_value, _MOST)


def threshold(*, every: float, window: float, share: float = 1.0) -> float:
    """Return A: the evidence at which to alarm.

    Args:
        every: Seconds per false alarm allowed to the whole model, e.g. 30 days.
        window: Length of a window, in seconds.
        share: This monitor's part of the budget; those of one model add up to 1.

    Raises:
        Invalid: If a number is not positive or the share is above 1.
    """
    if not (every > 0 and window > 0 and 0 < share <= 1):
        raise Invalid(
            f"no threshold from one in {every} s, windows of {window} s, share {share}",
            hint="all are positive, and the shares of a model's monitors add up to 1",
        )
    return max(every / window / share, 2.0)


def log_mean(log_r: Floats, weights: Floats) -> float:
    """Return the log of the weighted mean of R; the weights add up to 1."""
    some = weights > 0
    if not some.any():
        return -inf
    return float(np.logaddexp.reduce(log_r[some] + np.log(weights[some])))


def shares(log_r: Floats, weights: Floats) -> Floats:
    """Return each part's share of the weighted mean of R."""
    with np.errstate(divide="ignore"):
        parts = np.where(weights > 0, log_r + np.log(np.maximum(weights, 1e-300)), -inf)
    top = parts.max() if len(parts) else 0.0
    if not np.isfinite(top):
        return np.zeros(len(parts))
    raised = np.exp(parts - top)
    share: Floats = raised / raised.sum()
    return share
