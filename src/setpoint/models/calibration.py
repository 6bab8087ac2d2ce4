"""Whether probabilities are frequencies."""

import numpy as np
from scipy.stats import norm

from setpoint.models.intervals import Estimate
from setpoint.models.metrics import Floats

_BINS, _LEAST = 15, 100  #: bins at most; rows a bin at least
_OF_NOISE = 0.3426  #: mean of √max(0, z² − 1) for a standard normal z


def calibration_error(label: Floats, score: Floats, *, confidence: float) -> Estimate:
    """Return the expected calibration error, corrected for chance, with its bounds.

    Rows are cut into up to 15 bins of equal mass (at least 100 rows each, one bin below
    that). In each, the gap g between the mean score and the share of positives has the
    variance v of a binomial share, so that g² is v too large on average: the error is the
    mean of √max(0, g² − v), weighted by rows. A perfectly calibrated model thus scores
    0.43 of what the plain mean of |g| would give it. Each bound holds with about
    `confidence` (normal approximation on the gaps; `low` also takes off what chance alone
    would leave, so that it is above 0 only if miscalibration is shown).

    Sources: Kumar, Liang & Ma 2019, *Verified Uncertainty Calibration* (equal mass,
    correction); Naeini et al. 2015 (expected calibration error).

    Args:
        label: [n] 0 or 1.
        score: [n] probabilities.
        confidence: Of each bound, in (0, 1).
    """
    if not label.size:
        return Estimate(value=np.nan, low=np.nan, high=np.nan, rows=0)
    bins = int(np.clip(label.size // _LEAST, 1, _BINS))
    order = np.argsort(score, kind="stable")
    parts = np.array_split(order, bins)
    size = np.array([part.size for part in parts], dtype=np.float64)
    share = np.array([label[part].mean() for part in parts])
    gap = np.abs(np.array([score[part].mean() for part in parts]) - share)
    smooth = (share * size + 0.5) / (size + 1)  # no bin is taken to be without noise
    variance = smooth * (1 - smooth) / size
    weight = size / size.sum()
    value = float(weight @ np.sqrt(np.maximum(gap**2 - variance, 0)))
    chance = _OF_NOISE * float(weight @ np.sqrt(variance))
    margin = float(norm.ppf(confidence) * np.sqrt(weight**2 @ variance))
    return Estimate(
        value=value,
        low=max(0.0, value - chance - margin),
        high=value + margin,
        rows=label.size,
    )
