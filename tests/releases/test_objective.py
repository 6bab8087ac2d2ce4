"""The objective on both arms: counts that add up, blocks that close once."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.models.metrics import measure
from setpoint.releases.objective import (
    METRICS,
    Pair,
    PairedObjective,
    bin_of,
    close,
    merge_objectives,
    paired_objective,
    verdicts,
)

HOUR = timedelta(hours=1)
SECONDS = 3600


def pairs(rows: int, *, at: int = 0, seed: int = 0, candidate: float = 1.0) -> list[Pair]:
    """Return rows of one block; `candidate` is how much it knows, the live version 1."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 1.5, rows)
    label = rng.random(rows) < 1 / (1 + np.exp(-truth))
    live = 1 / (1 + np.exp(-truth - rng.normal(size=rows)))
    other = 1 / (1 + np.exp(-candidate * truth - rng.normal(size=rows)))
    return [
        Pair(at=at, positive=bool(y), candidate=float(c), live=float(s))
        for y, c, s in zip(label, other, live, strict=True)
    ]


def closed(
    seen: PairedObjective, *, metric: str = "roc_auc", least: int = 20, patience: timedelta = HOUR
) -> PairedObjective:
    return close(seen, metric=metric, block=HOUR, patience=patience, least=least)


def at(hours: float) -> PairedObjective:
    """Return what a prediction at that time adds: that the time has come."""
    return paired_objective([], block=HOUR, until=int(hours * SECONDS))


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_a_closed_block_shows_the_difference_of_the_metric(metric: str) -> None:
    rows = pairs(400, candidate=0.4)
    label = np.array([float(pair.positive) for pair in rows])
    expected = (
        measure(metric, label, np.array([pair.candidate for pair in rows])).value
        - measure(metric, label, np.array([pair.live for pair in rows])).value
    )
    seen = merge_objectives(paired_objective(rows, block=HOUR), at(2))
    (block,) = closed(seen, metric=metric).judged
    assert block.rows == 400
    assert block.difference == pytest.approx(expected, abs=0.005)
    assert block.difference < -0.02


def test_a_block_is_judged_once_labels_were_waited_for() -> None:
    seen = paired_objective(pairs(200), block=HOUR)
    early = closed(merge_objectives(seen, at(1.99)))
    assert early.judged == ()
    late = closed(merge_objectives(early, at(2)))
    assert [block.start for block in late.judged] == [0]
    assert late.open == {}


def test_labels_later_than_that_change_nothing() -> None:
    judged = closed(merge_objectives(paired_objective(pairs(200), block=HOUR), at(3)))
    more = paired_objective(pairs(500, seed=1, candidate=-1.0), block=HOUR)
    again = closed(merge_objectives(judged, more))
    assert again.judged == judged.judged
    assert again.open == {}


def test_a_block_with_too_few_of_a_class_is_joined_with_the_next() -> None:
    few = pairs(30)
    assert min(sum(p.positive for p in few), sum(not p.positive for p in few)) < 20
    seen = paired_objective([*few, *pairs(100, at=SECONDS, seed=1)], block=HOUR)
    first = closed(merge_objectives(seen, at(2)))
    assert first.judged == ()
    (block,) = closed(merge_objectives(first, at(3))).judged
    assert (block.start, block.rows) == (0, 130)


@given(
    cuts=st.lists(st.integers(0, 120), max_size=4),
    order=st.permutations(range(5)),
)
def test_however_the_rows_were_cut_and_ordered_the_counts_are_the_same(
    cuts: list[int], order: list[int]
) -> None:
    rows = [*pairs(60), *pairs(60, at=SECONDS, seed=1)]
    whole = paired_objective(rows, block=HOUR, until=7 * SECONDS)
    edges = [0, *sorted(cuts), 120]
    parts = [
        paired_objective(rows[low:high], block=HOUR, until=7 * SECONDS)
        for low, high in pairwise(edges)
    ]
    total = PairedObjective()
    for index in order:
        if index < len(parts):
            total = merge_objectives(total, parts[index])
    assert total == whole


@given(score=st.floats(0, 1), other=st.floats(0, 1))
def test_bins_keep_the_order_of_scores_and_the_side_of_one_half(score: float, other: float) -> None:
    if score < other:
        assert bin_of(score) <= bin_of(other)
    assert (bin_of(score) >= 0) is (score >= 0.5)


def test_a_curve_keeps_what_blocks_have_shown_and_no_counts() -> None:
    seen = paired_objective([*pairs(200), *pairs(50, at=5 * SECONDS)], block=HOUR)
    judged = closed(merge_objectives(seen, at(5)))
    assert judged.open
    kept = verdicts(judged)
    assert kept.judged == judged.judged
    assert kept.open == {}
