"""The objective itself on both arms, block of time by block: what a block has shown. Pure.

A metric such as ROC AUC is no sum over rows, so each open block keeps counts of the scores
of either class and arm in fixed bins, which add up in any order. A block is closed once
predictions are newer than its end by the policy's patience, and is from then on one
number: how much better the candidate was in it. Labels that come later are left out.
"""

import math
from collections.abc import Iterable
from datetime import timedelta
from operator import itemgetter

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from setpoint.profiles.quality import auc

Bins = dict[str, int]  #: by bin of the score's log-odds, see `bin_of`: how many rows

_PER_UNIT = 16  #: bins in one unit of log-odds; a score of 1/2 is an edge of bin 0
_FARTHEST = 16.0  #: log-odds beyond it are one bin: 1 in 9 million
_SECOND = timedelta(seconds=1)


class Counts(Struct, frozen=True, kw_only=True):
    """Scores of one block that both arms gave to the same labelled rows."""

    candidate_positive: Bins = {}
    candidate_negative: Bins = {}
    live_positive: Bins = {}
    live_negative: Bins = {}

    @property
    def positives(self) -> int:
        return sum(self.live_positive.values())

    @property
    def negatives(self) -> int:
        return sum(self.live_negative.values())


class Judged(Struct, frozen=True, kw_only=True):
    """One closed block, or several in a row that only together had enough of both classes."""

    start: int  #: seconds since 1970
    rows: int
    difference: float  #: the objective, candidate minus live: above 0 is better; in [-1, 1]


class PairedObjective(Struct, frozen=True, kw_only=True):
    """All blocks of a release: closed, in order of time, and those still open."""

    judged: tuple[Judged, ...] = ()
    until: int = 0  #: the newest prediction, in seconds since 1970
    through: int = 0  #: blocks that start before this are closed
    rest: Counts = Counts()  #: of closed blocks that wait for more of a class
    rest_start: int | None = None
    open: dict[str, Counts] = {}  #: by the start of the block, in seconds since 1970

    @property
    def differences(self) -> NDArray[np.float64]:
        return np.array([block.difference for block in self.judged], dtype=np.float64)


class Pair(Struct, frozen=True, kw_only=True):
    """A labelled row that both arms scored."""

    at: int  #: when it was predicted, in seconds since 1970
    positive: bool
    candidate: float  #: its score, the probability of the positive class
    live: float


def paired_objective(pairs: Iterable[Pair], *, block: timedelta, until: int = 0) -> PairedObjective:
    """Count the scores of `pairs` by blocks of time; `until` is the newest prediction."""
    length = max(block // _SECOND, 1)
    found: dict[int, tuple[Bins, Bins, Bins, Bins]] = {}
    for pair in pairs:
        bins = found.setdefault(pair.at // length * length, ({}, {}, {}, {}))
        for arm, score in ((0, pair.candidate), (2, pair.live)):
            counts, where = bins[arm + (not pair.positive)], str(bin_of(score))
            counts[where] = counts.get(where, 0) + 1
    return PairedObjective(
        until=until,
        open={
            str(start): Counts(
                candidate_positive=bins[0],
                candidate_negative=bins[1],
                live_positive=bins[2],
                live_negative=bins[3],
            )
            for start, bins in sorted(found.items())
        },
    )


def bin_of(score: float) -> int:
    """Return the bin of a probability, by its log-odds.

    Example:
        >>> bin_of(0.5), bin_of(0.4999), bin_of(1.0)
        (0, -1, 256)
    """
    if score <= 0 or score >= 1:
        odds = math.copysign(_FARTHEST, score - 0.5)
    else:
        odds = min(max(math.log(score / (1 - score)), -_FARTHEST), _FARTHEST)
    return math.floor(odds * _PER_UNIT)


def merge_objectives(a: PairedObjective, b: PairedObjective) -> PairedObjective:
    """Add up what two pieces of the log say; at most one of them has closed any blocks."""
    closed = a if a.through >= b.through else b
    starts = sorted({*a.open, *b.open})
    return replace(
        closed,
        until=max(a.until, b.until),
        open={s: _sum(a.open.get(s, Counts()), b.open.get(s, Counts())) for s in starts},
    )


def close(
    seen: PairedObjective, *, metric: str, block: timedelta, patience: timedelta, least: int
) -> PairedObjective:
    """Judge the blocks that ended `patience` before the newest prediction, for good.

    Args:
        seen: With its open blocks.
        metric: One of `METRICS`.
        block: How long a block is.
        patience: How long labels of a block are waited for after its end.
        least: Rows of either class without which a block is joined with the next: chosen by
            labels alone, so that it favours neither arm.
    """
    length, wait = max(block // _SECOND, 1), patience // _SECOND
    through = max(seen.through, (seen.until - wait) // length * length)
    judged, rest, rest_start = list(seen.judged), seen.rest, seen.rest_start
    for start, counts in sorted(((int(s), c) for s, c in seen.open.items()), key=itemgetter(0)):
        if not seen.through <= start < through:
            continue  # its labels are late and left out, or it is open still
        rest, rest_start = _sum(rest, counts), start if rest_start is None else rest_start
        if min(rest.positives, rest.negatives) >= least:
            rows = rest.positives + rest.negatives
            shown = difference(metric, rest)
            judged.append(Judged(start=rest_start, rows=rows, difference=shown))
            rest, rest_start = Counts(), None
    return replace(
        seen,
        judged=tuple(judged),
        through=through,
        rest=rest,
        rest_start=rest_start,
        open={start: counts for start, counts in seen.open.items() if int(start) >= through},
    )


def verdicts(seen: PairedObjective) -> PairedObjective:
    """Return `seen` without its counts: all that a curve or a record needs."""
    return replace(seen, rest=Counts(), rest_start=None, open={})


def difference(metric: str, counts: Counts) -> float:
    """Return how much better the candidate is, in the terms of `metric`."""
    edges = sorted(
        {
            *map(int, counts.candidate_positive),
            *map(int, counts.candidate_negative),
            *map(int, counts.live_positive),
            *map(int, counts.live_negative),
        }
    )
    value = METRICS[metric]
    candidate = value(*_arrays(edges, counts.candidate_negative, counts.candidate_positive))
    live = value(*_arrays(edges, counts.live_negative, counts.live_positive))
    return candidate - live


Floats = NDArray[np.float64]


def _arrays(edges: list[int], negative: Bins, positive: Bins) -> tuple[Floats, Floats, Floats]:
    """Return counts by ascending bin, and which bins are answered with yes."""
    return (
        np.array([negative.get(str(edge), 0) for edge in edges], dtype=np.float64),
        np.array([positive.get(str(edge), 0) for edge in edges], dtype=np.float64),
        np.array([edge >= 0 for edge in edges], dtype=np.float64),
    )


def _roc_auc(negative: Floats, positive: Floats, _: Floats) -> float:
    return auc(negative, positive)[0] or 0.0


def _average_precision(negative: Floats, positive: Floats, _: Floats) -> float:
    hits = np.cumsum(positive[::-1])
    rows = hits + np.cumsum(negative[::-1])
    return float(positive[::-1] @ (hits / np.maximum(rows, 1)) / positive.sum())


def _accuracy(negative: Floats, positive: Floats, yes: Floats) -> float:
    right = positive @ yes + negative @ (1 - yes)
    return float(right / (positive.sum() + negative.sum()))


def _precision(negative: Floats, positive: Floats, yes: Floats) -> float:
    hits, called = float(positive @ yes), float((positive + negative) @ yes)
    return hits / called if called else 0.0


def _recall(_: Floats, positive: Floats, yes: Floats) -> float:
    return float(positive @ yes / positive.sum())


def _f1(negative: Floats, positive: Floats, yes: Floats) -> float:
    hits = positive @ yes
    return float(2 * hits / (hits + negative @ yes + positive.sum()))


#: Objectives between 0 and 1 of which more is better; of others the loss is judged alone.
METRICS = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
}


def _sum(a: Counts, b: Counts) -> Counts:
    return Counts(
        candidate_positive=_add(a.candidate_positive, b.candidate_positive),
        candidate_negative=_add(a.candidate_negative, b.candidate_negative),
        live_positive=_add(a.live_positive, b.live_positive),
        live_negative=_add(a.live_negative, b.live_negative),
    )


def _add(a: Bins, b: Bins) -> Bins:
    if not a or not b:
        return a or b
    return {where: a.get(where, 0) + b.get(where, 0) for where in sorted({*a, *b})}
