"""Which parameters a sweep's metric depends on: values in, shares out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

_LEAST = 5  #: runs, below which nothing can be said
_GROUPS = 5  #: of a parameter with many values: as many runs in each
_IN_A_GROUP = 3  #: runs at least

Floats = NDArray[np.float64]


class Importance(Struct, frozen=True, kw_only=True):
    """What one parameter has to do with the metric."""

    name: str
    share: float  #: of what differs between runs, explained by it alone; 0 to 1
    trend: float | None  #: rank correlation with the metric, −1 to 1; None: it is not of numbers


def importance(params: Mapping[str, Sequence[Any]], metric: Sequence[float]) -> list[Importance]:
    """Return the parameters that vary, the most important first.

    Runs are grouped by each parameter: by its values, or, of numbers of many, by size. The share
    is ω² of the metric's ranks: the variance between groups over the whole, less what groups of
    this size would show by chance. Ranks, so that one diverged run does not decide. Interactions
    count for none of their parameters, and the shares need not add up to 1.
    Source: Hays, "Statistics for psychologists", 1963, on ω²; Spearman, 1904, on the trend.

    Args:
        params: By name: a value for each run, None where it has none.
        metric: What the runs came to, in the same order; no NaN.
    """
    ranks = _ranks(np.asarray(metric, np.float64))
    if len(ranks) < _LEAST or np.ptp(ranks) == 0:
        return []
    found = [
        Importance(name=name, share=_share(groups, ranks), trend=_trend(values, ranks))
        for name, values in params.items()
        if (groups := _groups(values)) is not None
    ]
    return sorted(found, key=lambda each: (-each.share, each.name))


def _numbers(values: Sequence[Any]) -> Floats | None:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return np.array(values, np.float64) if numeric else None


def _groups(values: Sequence[Any]) -> NDArray[np.intp] | None:
    """Return the group of each run; None where there would be one only."""
    _, by_value = np.unique([str(value) for value in values], return_inverse=True)
    numbers, count = _numbers(values), int(by_value.max()) + 1
    if numbers is not None and count > _GROUPS:
        groups = max(2, min(_GROUPS, len(values) // _IN_A_GROUP))
        by_value = ((_ranks(numbers) - 0.5) * groups // len(values)).astype(np.intp)
    return by_value if by_value.min() < by_value.max() else None


def _share(groups: NDArray[np.intp], ranks: Floats) -> float:
    sizes = np.bincount(groups)
    sizes = sizes[sizes > 0]
    _, dense = np.unique(groups, return_inverse=True)
    means = np.bincount(dense, ranks) / sizes
    total = float(((ranks - ranks.mean()) ** 2).sum())
    between = float((sizes * (means - ranks.mean()) ** 2).sum())
    within = len(ranks) - len(sizes)
    if within <= 0:  # each run has a value of its own: nothing is repeated
        return 0.0
    noise = (total - between) / within
    return max(0.0, (between - (len(sizes) - 1) * noise) / (total + noise))


def _trend(values: Sequence[Any], ranks: Floats) -> float | None:
    numbers = _numbers(values)
    if numbers is None:
        return None
    return float(np.corrcoef(_ranks(numbers), ranks)[0, 1])


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rank of each value from 1; those alike share the mean of theirs."""
    from scipy.stats import rankdata  # noqa: PLC0415 - a second that starting need not wait

    ranks: NDArray[np.float64] = rankdata(values)
    return ranks
