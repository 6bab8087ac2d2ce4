"""What a column's histogram is: its cuts, its bins' order and its coarse groups.

The bins of a numeric column with cuts ``c[0] < … < c[k-1]`` (all float64; the first is the
least finite number, then come the reference's, then +inf and NaN):

    ``-inf | k-2 intervals of finite numbers | +inf | NaN | null | invalid``

A number x is in bin ``#{c <= x}``. A categorical column:

    ``each of the top categories | other | unseen | null | invalid``

where *other* was in the reference but not among its top, and *unseen* never was.
"""

from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.profiles.values import Floats, Ints

QUANTILES = 80  #: a multiple of ten, so that deciles are unions of bins
TOP = 256  #: categories with a bin of their own
KNOWN = 10_000  #: further categories remembered, to tell *other* from *unseen*
GROUPS = 10  #: coarse groups of values in a drift test
_LEAST = -np.finfo(np.float64).max
_TAILS = (0.1, 1.0, 10.0)  # distance from the reference's ends, in its ranges
_CELLS = 4096


class Wire(Struct, frozen=True, array_like=True):
    """A column as it is stored."""

    name: str
    cuts: bytes | None
    ends: tuple[float, float]
    categories: list[str]
    known: list[str]
    counts: bytes
    means: bytes


class Column:
    """One column of a reference: how its values are binned, and the reference's counts.

    Attributes:
        name: The column's name in every batch.
        cuts: float64, ascending, for a numeric column; None for a categorical one.
        ends: Smallest and largest finite reference value; outside lie the tail bins.
        categories: The top categories, most frequent first.
        counts: int64, the reference's rows by bin.
        means: float64, the reference's mean in each bin of finite numbers; NaN where none.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.name = wire.name
        self.cuts: Floats | None = (
            None if wire.cuts is None else np.frombuffer(wire.cuts, dtype="<f8")
        )
        self.ends = wire.ends
        self.categories = wire.categories
        self.counts: Ints = np.frombuffer(wire.counts, dtype="<i8")
        self.means: Floats = np.frombuffer(wire.means, dtype="<f8")

    @property
    def numeric(self) -> bool:
        return self.cuts is not None

    @property
    def size(self) -> int:
        """Number of bins."""
        return len(self.counts)

    @cached_property
    def codes(self) -> dict[str, int]:
        """Bin of each known category."""
        other = len(self.categories)
        return dict.fromkeys(self.wire.known, other) | {
            name: code for code, name in enumerate(self.categories)
        }

    @property
    def unseen(self) -> int:
        """Bin of values that the reference never had (categorical)."""
        if len(self.wire.known) >= KNOWN:  # beyond what is remembered nobody can tell
            return len(self.categories)
        return len(self.categories) + 1

    @cached_property
    def tails(self) -> NDArray[np.intp]:
        """Bins of finite values outside the reference's range."""
        if self.cuts is None or not np.isfinite(self.ends[0]):
            return np.empty(0, dtype=np.intp)
        low, high = self.ends
        first = int(self.cuts.searchsorted(low, side="right"))
        last = int(self.cuts.searchsorted(high, side="right"))
        bins: NDArray[np.intp] = np.r_[1:first, last + 1 : len(self.cuts) - 1]
        return bins

    @cached_property
    def grid(self) -> "Grid":
        assert self.cuts is not None  # noqa: S101  only numeric columns ask
        return Grid(self.cuts)

    @cached_property
    def groups(self) -> NDArray[np.intp]:
        """Coarse group of each bin: 0 missing, 1 out of contract, 2… the values in order.

        Missing is null and NaN. Out of contract is infinite, no number, or an unseen
        category. Values fall in up to ten groups of equal reference share (deciles, as far
        as ties allow); categories of 2 % and more have their own, up to 14.
        """
        if self.cuts is not None:
            return _numeric_groups(self.counts, len(self.cuts))
        return _category_groups(self.counts)

    @property
    def missing(self) -> NDArray[np.intp]:
        """Bins of rows without a value."""
        return np.flatnonzero(self.groups == 0)

    @property
    def invalid(self) -> NDArray[np.intp]:
        """Bins of rows out of contract; for categories, those of no category's type."""
        if self.cuts is None:
            return np.array([self.size - 1])
        return np.flatnonzero(self.groups == 1)


class Grid:
    """Look-up of a number's bin in O(1): uniform cells, then a few comparisons.

    Exact, since the cell is a non-decreasing function of the number: cuts in lower cells
    are below it, cuts in higher cells above, and those of its own cell are compared.
    """

    def __init__(self, cuts: Floats) -> None:
        self.cuts = cuts
        inner = cuts[1:-2]
        self.low = float(inner[0]) if len(inner) else 0.0
        span = float(inner[-1]) - self.low if len(inner) > 1 else 0.0
        if len(inner) > 2 * len(_TAILS) + 2:  # the tails' cuts are far away: leave them out
            self.low = float(inner[len(_TAILS)])
            span = float(inner[-1 - len(_TAILS)]) - self.low
        self.scale = _CELLS / span if span > 0 and np.isfinite(_CELLS / span) else 0.0
        cells = self._cells(cuts[:-2])
        self.base = np.searchsorted(cells, np.arange(_CELLS + 2)).astype(np.int64)
        inside = cells[(cells > 0) & (cells <= _CELLS)]
        self.rounds = int(np.bincount(inside).max()) if len(inside) else 0
        self.useful = self.scale > 0 and self.rounds <= 6

    def _cells(self, x: Floats) -> NDArray[np.int64]:
        with np.errstate(over="ignore"):
            scaled = (x - self.low) * self.scale
        np.clip(scaled, -1, _CELLS, out=scaled)
        scaled += 1  # the lower tail is cell 0; truncation is floor from here on
        return scaled.astype(np.int64)

    def lookup(self, x: Floats) -> NDArray[np.int64]:
        """Return the bin of each finite `x`."""
        if not self.useful:
            return self.cuts.searchsorted(x, side="right")
        cells = self._cells(x)
        bins = self.base[cells]
        for _ in range(self.rounds):
            bins += x >= self.cuts[bins]
        outside = np.flatnonzero((cells == 0) | (cells > _CELLS))
        if len(outside):
            bins[outside] = self.cuts.searchsorted(x[outside], side="right")
        return bins


def numeric_cuts(ordered: Floats) -> tuple[Floats, tuple[float, float]]:
    """Derive a numeric column's cuts from its finite reference values, ascending.

    Quantiles that coincide become a bin for that one point; a column of at most 80 distinct
    values has one for each. Beyond both ends lie tail bins at 0.1, 1 and 10 ranges.
    """
    n = len(ordered)
    if n == 0:
        return np.array([_LEAST, np.inf, np.nan]), (np.inf, -np.inf)
    low, high = float(ordered[0]), float(ordered[-1])
    ranks = (np.arange(1, QUANTILES) * n + QUANTILES - 1) // QUANTILES - 1
    picks = np.concatenate([ordered[:1], ordered[np.maximum(ranks, 0)], ordered[-1:]])
    edges, times = np.unique(picks, return_counts=True)
    points = edges[times > 1]
    if n <= QUANTILES or len(edges) < QUANTILES // 2:
        distinct = np.unique(ordered)
        if len(distinct) <= QUANTILES:
            edges = points = distinct
    with np.errstate(over="ignore"):
        span = (high - low) or max(abs(high), 1.0)
        far = np.array(_TAILS) * span
        cuts = np.concatenate(
            [
                *(low - far, points, [low]),
                *(np.nextafter(edges, np.inf), [np.nextafter(high, np.inf)], high + far),
            ]
        )
    cuts = cuts[np.isfinite(cuts) & (cuts > _LEAST)]
    return np.concatenate([[_LEAST], np.unique(cuts), [np.inf, np.nan]]), (low, high)


def score_cuts() -> Floats:
    """Return extra cuts for a probability: a grid of 0.01, so that thresholds are cuts."""
    grid = np.round(np.arange(1, 100) / 100, 2)
    return np.asarray(grid, dtype=np.float64)


def _numeric_groups(counts: Ints, cuts: int) -> NDArray[np.intp]:
    groups = np.zeros(len(counts), dtype=np.intp)
    groups[[0, cuts - 1, -1]] = 1
    groups[1 : cuts - 1] = 2 + _deciles(counts[1 : cuts - 1])
    return groups


def _deciles(counts: Ints) -> NDArray[np.intp]:
    """Group ordered bins by tenths of their total, numbered without gaps."""
    total = counts.sum()
    if not total:
        return np.zeros(len(counts), dtype=np.intp)
    middle = np.cumsum(counts) - counts / 2
    tenth = np.minimum((middle * GROUPS / total).astype(np.intp), GROUPS - 1)
    held = np.zeros(GROUPS, dtype=bool)
    held[np.unique(tenth[counts > 0])] = True
    number = np.maximum(np.cumsum(held) - 1, 0)  # bins of empty groups join their left
    found: NDArray[np.intp] = number[tenth]
    return found


def _category_groups(counts: Ints) -> NDArray[np.intp]:
    top = len(counts) - 4
    total = max(int(counts.sum()), 1)
    own = min(int((counts[:top] >= 0.02 * total).sum()), 14)
    groups = np.full(len(counts), 2 + own, dtype=np.intp)
    groups[:own] = 2 + np.arange(own)
    groups[top + 1], groups[top + 2], groups[top + 3] = 1, 0, 1
    if own and not counts[own : top + 1].any():  # nothing left for a group of the rest
        groups[own : top + 1] = 1
    return groups
