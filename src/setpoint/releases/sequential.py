"""Statistics that may be looked at after every request: error rates hold over all looks.

An e-process is a wager against a hypothesis: it starts at 1, and while the hypothesis is
true it ever exceeds 1/alpha with probability at most alpha (Ville's inequality). Functions
take numbers or numpy arrays alike and return logarithms: products over stages are sums.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.core import special
from setpoint.releases.evidence import GuardTally, PairedLoss

#: Pseudo-events of the prior. Small: much weight on ratios far beyond the tolerated one, so
#: that grave faults are caught in few events; large: better at faults just beyond it.
CONCENTRATION = 4.0

_LARGEST_RATIO = 1e6
_PROOF = 690.0  # of log E: its exponential is still finite
_HALVINGS = 50
_TERMS = 60

Numbers = NDArray[np.float64]

#: Stakes of a wager on means, as shares of the largest, and logs of their weights: large
#: stakes weigh more, as little harm is not what has to be found soon.
_STAKES = (np.arange(20) + 0.5) / 20
_PRIOR = np.log(_STAKES / _STAKES.sum())


def log_e(k: Any, n: Any, theta: Any, *, concentration: float = CONCENTRATION) -> Numbers:
    """Return log E against "an event is the canary's with chance at most `theta`".

    The likelihood ratio of all chances above `theta`, mixed by a Beta prior centred at
    `theta` and truncated above it, to `theta` itself.

    Args:
        k: Events of the canary, 0 ≤ k ≤ n. Each adds evidence, every other
            event removes some.
        n: Events of either arm.
        theta: Largest chance under the hypothesis; at 0 or 1 nothing can be compared and
            log E is 0.
        concentration: Weight of the prior, in events (see `CONCENTRATION`).

    Example:
        >>> round(float(log_e(9, 40, 0.0617)), 2)
        4.44

    References:
        Lindon & Malek (2022), "Anytime-valid inference for multinomial count data",
        NeurIPS 35, arXiv 2011.03567. Robbins (1970), "Statistical methods related to the
        law of the iterated logarithm", for the method of mixtures.
    """
    k, n, theta = (np.asarray(x, dtype=np.float64) for x in (k, n, theta))
    inside = (theta > 0) & (theta < 1)
    x = np.where(inside, theta, 0.5)
    a, b = concentration * x, concentration * (1 - x)
    posterior = special.betaln(a + k, b + n - k) + _log_above(x, a + k, b + n - k)
    prior = special.betaln(a, b) + _log_above(x, a, b)
    value = posterior - prior - k * np.log(x) - (n - k) * np.log1p(-x)
    return np.where(inside, value, 0.0)


def _log_above(x: Numbers, a: Numbers, b: Numbers) -> Numbers:
    """Return log P(Beta(a, b) > x), by a continued fraction where that underflows."""
    above = np.asarray(special.betaincc(a, b, x))
    tiny = above < 1e-290
    logs = np.array(np.log(np.where(tiny, 1.0, above)))
    if tiny.any():
        x, a, b = (np.broadcast_to(each, tiny.shape)[tiny] for each in (x, a, b))
        front = a * np.log(x) + b * np.log1p(-x) - special.betaln(a, b) - np.log(b)
        logs[tiny] = front + np.log(_fraction(b, a, 1 - x))
    return logs


def _fraction(a: Numbers, b: Numbers, x: Numbers) -> Numbers:
    """Return the continued fraction of I_x(a, b), from its last term to its first.

    It converges within a few terms far out in the tail, where alone it is used.

    References:
        NIST Digital Library of Mathematical Functions, 8.17.22.
    """
    value = np.ones(np.broadcast(a, b, x).shape)
    for m in range(_TERMS, -1, -1):
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        if m < _TERMS:
            k = m + 1
            even = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k))
            value = 1 + even / value
        value = 1 + odd / value
    return 1 / value


def share_of(weight: float, ratio: float) -> float:
    """Return the chance that an event is the canary's, `ratio` times as prone to it."""
    return weight * ratio / (weight * ratio + 1 - weight)


def log_e_worse(
    tallies: Sequence[GuardTally], ratio: float, *, concentration: float = CONCENTRATION
) -> float:
    """Return log E against "the canary has the event at most `ratio` times as often".

    Stages with different traffic shares multiply. Large means: roll back.
    """
    return sum(
        float(
            log_e(
                t.canary_events,
                t.total_events,
                share_of(t.weight, ratio),
                concentration=concentration,
            )
        )
        for t in tallies
    )


def log_e_fine(
    tallies: Sequence[GuardTally], ratio: float, *, concentration: float = CONCENTRATION
) -> float:
    """Return log E against "the canary has it at least `ratio` times as often".

    The mirror image of `log_e_worse`. Large means: not inferior by that margin.
    """
    return sum(
        float(
            log_e(
                t.stable_events,
                t.total_events,
                1 - share_of(t.weight, ratio),
                concentration=concentration,
            )
        )
        for t in tallies
    )


def ratio_sequence(
    tallies: Sequence[GuardTally], alpha: float
) -> tuple[float | None, float | None]:
    """Return the confidence sequence of the canary's event rate over the live version's.

    The ratios that neither e-process rejects. Either end is wrong, at any time, with
    probability at most `alpha`.

    Returns:
        ``(low, high)``; None for an end that the evidence does not bound.
    """
    bar = -np.log(alpha)
    low = _crossing(lambda ratio: log_e_worse(tallies, ratio) >= bar)
    high = _crossing(lambda ratio: log_e_fine(tallies, ratio) < bar)
    return low, high


def _crossing(holds: Callable[[float], bool]) -> float | None:
    """Return the largest ratio up to which `holds`; None if it never or always does."""
    low, high = -np.log(_LARGEST_RATIO), np.log(_LARGEST_RATIO)
    if not holds(float(np.exp(low))) or holds(float(np.exp(high))):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(float(np.exp(middle))) else (low, middle)
    return float(np.exp(low))


def log_e_rare(canary_events: int, canary_requests: int, rate: float) -> float:
    """Return log E against "at least `rate` of the canary's requests have the event".

    Large means: whatever the live version does, the canary's rate is below `rate`.
    """
    return float(log_e(canary_requests - canary_events, canary_requests, 1 - rate))


def log_e_often(canary_events: int, canary_requests: int, rate: float) -> float:
    """Return log E against "at most `rate` of the canary's requests have the event".

    Large means: whatever the live version does, the canary's rate is above `rate`. Where
    none is allowed, one is proof.
    """
    if rate == 0:
        return _PROOF if canary_events else 0.0
    return float(log_e(canary_events, canary_requests, rate))


def mean_sequence(
    loss: PairedLoss, alpha: float, *, tightest_at: int
) -> tuple[float | None, float | None]:
    """Return the asymptotic confidence sequence of a mean of differences.

    Args:
        loss: Running count, mean and spread of the differences; where rows of one block
            of time go together, the spread is the blocks'.
        alpha: Chance that the mean is ever outside, both sides together, for counts large
            enough for a normal limit (a hundred rows of log loss are).
        tightest_at: Rows at which the interval is narrowest for its level; an order of
            magnitude off costs about a tenth of the width.

    Returns:
        ``(low, high)``, both None below two rows.

    References:
        Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), "Time-uniform central limit
        theory and asymptotic confidence sequences", Annals of Statistics 52, 2613-2640.
    """
    if loss.n < 2:
        return None, None
    reach = loss.spread * float(half_width(loss.n, alpha, tightest_at=tightest_at))
    return loss.mean - reach, loss.mean + reach


def log_e_mean(gains: Any, floor: float) -> Numbers:
    """Return log E against "the mean of these gains, one a block of time, is at most 0".

    A wager on each block, at stakes that never change: its product does not depend on the
    order of blocks, and what is tested is the mean so far, not each block's own. Gains may be
    arbitrarily large; what a block takes is limited to `floor`, without which the wager
    could be ruined by one block and would have to be too small to win in a week.

    Args:
        gains: [..., blocks] independent of each other, or with means that follow from the past.
        floor: What one block can take at most, above 0. Smaller wins sooner, and tests the
            mean of gains limited from below, which is a little above theirs.

    Example:
        >>> round(float(log_e_mean([0.1] * 6, 0.08)), 2)
        3.25

    References:
        Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by
        betting", JRSS B 86, 1-27; Choe & Ramdas (2024), "Comparing sequential forecasters",
        Operations Research 72, 1368-1387, for means that change.
    """
    gains = np.maximum(np.asarray(gains, dtype=np.float64), -floor)
    logs = np.log1p(gains[..., None] * (_STAKES / floor)).sum(axis=-2)
    return np.asarray(np.logaddexp.reduce(logs + _PRIOR, axis=-1))


def mean_bounds(
    differences: Any, alpha: float, *, floor: float
) -> tuple[float | None, float | None]:
    """Return the confidence sequence of the mean of differences in [-1, 1], by blocks.

    The means that no wager rejects; either end is wrong, at any time, with probability at
    most `alpha`. See `log_e_mean` for `floor`.

    Returns:
        ``(low, high)``; None for an end that the evidence does not bound.
    """
    differences = np.asarray(differences, dtype=np.float64)
    high = _bound(differences, alpha, floor)
    low = _bound(-differences, alpha, floor)
    return None if low is None else -low, high


def _bound(differences: Numbers, alpha: float, floor: float) -> float | None:
    """Return the lowest mean that is rejected from above; None if none is."""
    bar, low, high = -np.log(alpha), -1.0, 1.0
    if not differences.size or log_e_mean(high - differences, floor) < bar:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rejected = log_e_mean(middle - differences, floor) >= bar
        low, high = (low, middle) if rejected else (middle, high)
    return high


def half_width(n: Any, alpha: float, *, tightest_at: int) -> Numbers:
    """Return the half-width of `mean_sequence` after `n` rows of standard deviation 1."""
    n = np.asarray(n, dtype=np.float64)
    rho2 = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha)) + 1) / tightest_at
    spread = n * rho2 + 1
    return np.asarray(np.sqrt(2 * spread / (n**2 * rho2) * np.log(np.sqrt(spread) / alpha)))
