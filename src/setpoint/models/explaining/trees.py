"""Exact Shapley values of a sum of trees, against a background.

A leaf counts for a coalition if, on the way to it, the row decides at inputs in the coalition and
the background row at those outside. So each leaf that can be reached that way is a game in which
`a` inputs must be in and `b` must be out, and its Shapley values are known: each of the `a` gets
``leaf · (a-1)! b! / (a+b)!``, each of the `b` ``-leaf · a! (b-1)! / (a+b)!``.

Source: Lundberg et al. 2020, "From local explanations to global understanding with explainable AI
for trees", Nature Machine Intelligence 2, algorithm 3 (interventional Tree SHAP). Here all trees
and background rows go down level by level together, as arrays, which sets the GIL free.
"""

from collections.abc import Iterator
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from setpoint.models.protocols import Floats

_WIDEST = 50_000  #: ways down at once, by which the background is divided: some 5 MB


class Trees(NamedTuple):
    """A sum of trees, its margin: splits by number, leaves as the complement of theirs."""

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]  #: by split, as all below
    threshold: Floats
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int64]  #: where the value is at most the threshold
    right: NDArray[np.int64]
    leaf: Floats  #: by leaf, what it adds to the margin
    offset: float  #: added to the sum
    single: bool  #: whether values are rounded to single precision first
    link: str = ""  #: what makes the score of the margin: ``Sigmoid``, ``Exp`` or nothing

    def rounded(self, rows: Floats) -> Floats:
        """Return rows as the splits compare them."""
        if not self.single:
            return rows
        with np.errstate(over="ignore"):
            return rows.astype(np.float32).astype(np.float64)

    def margin(self, rows: Floats) -> Floats:
        """Return the sum for each of rows [n, k]."""
        rows = self.rounded(rows)
        node = np.tile(self.roots, len(rows))
        row = np.repeat(np.arange(len(rows)), len(self.roots))
        total = np.full(len(rows), self.offset)
        while node.size:
            node = self._child(node, rows[row, self.feature[node]])
            done = node < 0
            total += np.bincount(row[done], self.leaf[~node[done]], len(rows))
            node, row = node[~done], row[~done]
        return total

    def reach(self) -> tuple[float, float]:
        """Return what no margin is below or above."""
        node, tree = self.roots, np.arange(len(self.roots))
        low, high = np.full(len(tree), np.inf), np.full(len(tree), -np.inf)
        while node.size:
            node = np.concatenate([self.left[node], self.right[node]])
            tree = np.concatenate([tree, tree])
            done = node < 0
            np.minimum.at(low, tree[done], self.leaf[~node[done]])
            np.maximum.at(high, tree[done], self.leaf[~node[done]])
            node, tree = node[~done], tree[~done]
        return self.offset + float(low.sum()), self.offset + float(high.sum())

    def contributions(self, row: Floats, background: Floats) -> Floats:
        """Return the Shapley values of a row's margin [m, k], against each background row.

        Args:
            row: [k].
            background: [m, k].
        """
        row, background = self.rounded(row), self.rounded(background)
        shape = background.shape
        wide = max(1, _WIDEST // (8 * len(self.roots)))
        found = []
        for start in range(0, len(background), wide):
            some = background[start : start + wide]
            total = np.zeros(some.size)
            for way in self._reached(row, some):
                total += _shared(self.leaf[~way.node], way, some.shape)
            found.append(total)
        return np.concatenate(found).reshape(shape)

    def _reached(self, row: Floats, background: Floats) -> Iterator["_Ways"]:
        """Yield the ways that have come to a leaf, level by level."""
        count, words = len(background) * len(self.roots), (len(row) + 63) // 64
        way = _Ways(
            np.tile(self.roots, len(background)),
            np.repeat(np.arange(len(background)), len(self.roots)),
            np.zeros((count, words), np.uint64),
            np.zeros((count, words), np.uint64),
        )
        while way.node.size:
            way = self._down(way, row, background)
            done = way.node < 0
            yield way.some(done)
            way = way.some(~done)

    def _down(self, way: "_Ways", row: Floats, background: Floats) -> "_Ways":
        feature = self.feature[way.node]
        by_row = self._child(way.node, row[feature])
        by_other = self._child(way.node, background[way.other, feature])
        word, bit = feature >> 6, np.uint64(1) << (feature & 63).astype(np.uint64)
        every = np.arange(len(feature))
        apart = by_row != by_other
        ins = ~apart | ((way.outside[every, word] & bit) == 0)
        outs = apart & ((way.inside[every, word] & bit) == 0)
        bit[~apart] = 0
        first = way._replace(node=by_row).some(ins)
        first.inside[np.arange(len(first.node)), word[ins]] |= bit[ins]
        second = way._replace(node=by_other).some(outs)
        second.outside[np.arange(len(second.node)), word[outs]] |= bit[outs]
        return _Ways(*(np.concatenate(both) for both in zip(first, second, strict=True)))

    def _child(self, node: NDArray[np.int64], value: Floats) -> NDArray[np.int64]:
        goes_left = np.where(
            np.isnan(value), self.missing_left[node], value <= self.threshold[node]
        )
        return np.where(goes_left, self.left[node], self.right[node])


class _Ways(NamedTuple):
    """Ways down the trees, each for one background row."""

    node: NDArray[np.int64]
    other: NDArray[np.int64]  #: the background row
    inside: NDArray[np.uint64]  #: [ways, words]: inputs that the row has decided
    outside: NDArray[np.uint64]  #: inputs that the background row has decided

    def some(self, keep: NDArray[np.bool_]) -> "_Ways":
        node, other = self.node[keep], self.other[keep]
        return _Ways(node, other, self.inside[keep], self.outside[keep])


def _shared(leaf: Floats, way: _Ways, shape: tuple[int, ...]) -> Floats:
    """Return what leaves give to each input against each background row, flat."""
    a = np.bitwise_count(way.inside).sum(axis=1, dtype=np.int64)
    b = np.bitwise_count(way.outside).sum(axis=1, dtype=np.int64)
    count, width = shape
    found = np.zeros(count * width)
    for bits, mine, others, sign in ((way.inside, a, b, 1.0), (way.outside, b, a, -1.0)):
        some = mine > 0
        weight = sign * leaf[some] * _weight(mine[some], others[some])
        as_bytes = np.ascontiguousarray(bits[some]).astype("<u8").view(np.uint8)
        at, column = np.nonzero(np.unpackbits(as_bytes, axis=1, bitorder="little"))
        place = way.other[some][at] * width + column
        found += np.bincount(place, weight[at], count * width)
    return found


def _weight(mine: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
    """Return ``(mine-1)! others! / (mine+others)!``, each pair of them computed once."""
    if not mine.size:
        return np.empty(0)
    wide = int(others.max()) + 1
    pairs, place = np.unique(mine * wide + others, return_inverse=True)
    known = [_of(*divmod(pair, wide)) for pair in pairs.tolist()]
    return np.array(known)[place]


def _of(mine: int, others: int) -> float:
    return factorial(mine - 1) * factorial(others) / factorial(mine + others)
