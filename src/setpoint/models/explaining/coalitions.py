"""Shapley values of any function of rows: it is asked about rows mixed of two.

An input that is left out of a coalition has a background row's value, so texts and missing
values need no meaning of their own. With few inputs all coalitions are asked about, which is
exact; with more, permutations are drawn, each with its reverse (Mitchell et al. 2022, "Sampling
permutations for Shapley value estimation", JMLR 23): the values still add up exactly, as the
differences along a permutation do, and the spread of repetitions gives their standard errors.

Where the score is a known function of a margin whose Shapley values are known (boosted trees), only
what the margin does not explain is estimated: score minus slope times margin, with the slope
that makes it the same for row and background row. That is a control variate: nothing is biased
by it, and the errors are a half to a sixth.
"""

from collections.abc import Callable
from math import comb
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setpoint.models.protocols import Floats, Rows

MOST_EVALUATIONS = 60_000  #: rows the function is asked about for one explanation, about
_ENOUGH_SECONDS = 5.0  #: after which no more permutations are drawn, if there are two a row
_AT_ONCE = 4_096  #: rows in one call

#: Rows in, one score a row out.
Ask = Callable[[Rows], Floats]


class Found(NamedTuple):
    contributions: Floats  #: [k]
    errors: Floats | None  #: standard errors [k]; None: they are exact
    evaluations: int


class Guide(NamedTuple):
    """A margin whose Shapley values are known."""

    values: Floats  #: [m, k], against each background row
    margin: Callable[[Floats], Floats]  #: of scores


class Mixer:
    """Makes rows of one row's values and background rows'."""

    def __init__(self, row: Rows, background: Rows, names: list[str]) -> None:
        """Take a row as rows of length one, and the background in the same shape."""
        self._names = names
        self._matrix = isinstance(row, np.ndarray)
        self._row, self._background = _columns(row, names), _columns(background, names)
        self.count = len(self._background[0])
        #: the inputs in which any background row differs; others contribute nothing
        self.active = [
            at
            for at, (own, others) in enumerate(zip(self._row, self._background, strict=True))
            if not all(_same(own[0], other) for other in others.tolist())
        ]

    def rows(self, inside: NDArray[np.bool_], other: NDArray[np.int64]) -> Rows:
        """Return rows [n]: a background row each, with the row's values at `inside` [n, active]."""
        place = {column: at for at, column in enumerate(self.active)}
        mixed = [
            np.where(inside[:, place[at]], own[0], others[other]) if at in place else others[other]
            for at, (own, others) in enumerate(zip(self._row, self._background, strict=True))
        ]
        if self._matrix:
            return np.ascontiguousarray(np.column_stack(mixed), dtype=np.float64)
        return dict(zip(self._names, mixed, strict=True))


def are_few(mixer: Mixer) -> bool:
    """Tell whether all coalitions are asked about."""
    return (mixer.count << len(mixer.active)) <= MOST_EVALUATIONS


def shapley(
    ask: Ask, mixer: Mixer, width: int, rng: np.random.Generator, guide: Guide | None = None
) -> Found:
    """Return the Shapley values of a function for a row, in the mean over its background.

    Args:
        ask: The function.
        mixer: The row and its background.
        width: Inputs.
        rng: For the permutations, where not all coalitions are asked about.
        guide: What is known of a margin, if anything.
    """
    k = len(mixer.active)
    values, errors = np.zeros(width), None
    if not k:
        return Found(values, None, 0)
    if are_few(mixer):
        found, evaluations = _all(ask, mixer), mixer.count << k
    else:
        found, spread, evaluations = _drawn(ask, mixer, rng, guide)
        errors = np.zeros(width)
        errors[mixer.active] = spread
    values[mixer.active] = found
    return Found(values, errors, evaluations)


def _all(ask: Ask, mixer: Mixer) -> Floats:
    k, m = len(mixer.active), mixer.count
    bits = (np.arange(1 << k)[:, None] >> np.arange(k)) & 1 == 1  # [2^k, k]
    mean = np.concatenate(
        [
            _asked(ask, mixer, np.repeat(some, m, axis=0), np.tile(np.arange(m), len(some)))
            for some in np.array_split(bits, max(1, len(bits) * m // _AT_ONCE))
        ]
    )
    mean = mean.reshape(-1, m).mean(axis=1)
    size = bits.sum(axis=1)
    share = np.array([1 / (k * comb(k - 1, s)) if s < k else 0.0 for s in range(k + 1)])
    found = np.empty(k)
    for j in range(k):
        out = np.flatnonzero(~bits[:, j])
        found[j] = share[size[out]] @ (mean[out | (1 << j)] - mean[out])
    return found


def _drawn(
    ask: Ask, mixer: Mixer, rng: np.random.Generator, guide: Guide | None
) -> tuple[Floats, Floats, int]:
    k, m = len(mixer.active), mixer.count
    rounds = max(2, MOST_EVALUATIONS // (2 * (k + 1) * m))
    started, drawn = monotonic(), list[Floats]()
    while len(drawn) < rounds:
        drawn.append(_round(ask, mixer, rng, guide))
        if len(drawn) > 1 and monotonic() - started > _ENOUGH_SECONDS:
            break
    values = np.array(drawn)  # [rounds, m, k]
    variance = values.var(axis=0, ddof=1).mean(axis=0) / (len(drawn) * m)
    return values.mean(axis=(0, 1)), np.sqrt(variance), len(drawn) * 2 * (k + 1) * m


def _round(ask: Ask, mixer: Mixer, rng: np.random.Generator, guide: Guide | None) -> Floats:
    """Return the values [m, k] along one permutation a background row, and its reverse."""
    k, m = len(mixer.active), mixer.count
    order = rng.permuted(np.tile(np.arange(k), (m, 1)), axis=1)
    found = np.zeros((m, k))
    for one in (order, order[:, ::-1]):
        place = np.argsort(one, axis=1)
        inside = place[:, None, :] < np.arange(k + 1)[None, :, None]  # [m, k+1, k]
        other = np.repeat(np.arange(m), k + 1)
        scores = _asked(ask, mixer, inside.reshape(-1, k), other).reshape(m, k + 1)
        if guide is not None:
            scores, known = _apart(scores, guide)
            found += known[:, mixer.active]
        found += np.take_along_axis(np.diff(scores, axis=1), place, axis=1)
    return found / 2


def _apart(scores: Floats, guide: Guide) -> tuple[Floats, Floats]:
    """Return what of the scores [m, k+1] a margin does not explain, and the values of the rest."""
    margin = guide.margin(scores)
    rise, run = scores[:, -1] - scores[:, 0], margin[:, -1] - margin[:, 0]
    slope = np.divide(rise, run, out=np.zeros_like(rise), where=run != 0)[:, None]
    return scores - slope * margin, slope * guide.values


def _asked(ask: Ask, mixer: Mixer, inside: NDArray[np.bool_], other: NDArray[np.int64]) -> Floats:
    parts = [
        ask(mixer.rows(inside[at : at + _AT_ONCE], other[at : at + _AT_ONCE]))
        for at in range(0, len(other), _AT_ONCE)
    ]
    return np.concatenate(parts)


def _columns(rows: Rows, names: list[str]) -> list[NDArray[Any]]:
    if isinstance(rows, np.ndarray):
        return list(rows.T)
    return [_column(rows[name]) for name in names]


def _column(values: Any) -> NDArray[Any]:
    found = np.asarray(values)
    return found if found.dtype.kind == "f" else found.astype(object)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - NaN
