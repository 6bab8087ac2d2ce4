"""The methods of explaining by property, against the definition."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.explaining.brute import shapley

from setpoint.models.explaining import coalitions, graphs, lines
from setpoint.models.explaining.trees import Trees

SEEDS = st.integers(0, 2**32 - 1)


def grown(rng: np.random.Generator, width: int, trees: int, depth: int) -> Trees:
    """Return trees with splits anywhere, the same input again and again on a way among them."""
    made: dict[str, list[Any]] = {name: [] for name in ("f", "t", "m", "left", "right", "leaf")}

    def grow(level: int) -> int:
        if level and (level == depth or rng.random() < 0.2):
            made["leaf"].append(rng.normal())
            return ~(len(made["leaf"]) - 1)
        at = len(made["f"])
        made["f"].append(rng.integers(width))
        made["t"].append(round(rng.normal(), 1))
        made["m"].append(rng.random() < 0.5)
        for side in ("left", "right"):
            made[side].append(0)
        made["left"][at] = grow(level + 1)
        made["right"][at] = grow(level + 1)
        return at

    roots = [grow(0) for _ in range(trees)]
    return Trees(
        roots=np.array(roots),
        feature=np.array(made["f"]),
        threshold=np.array(made["t"]),
        missing_left=np.array(made["m"]),
        left=np.array(made["left"]),
        right=np.array(made["right"]),
        leaf=np.array(made["leaf"]),
        offset=float(rng.normal()),
        single=bool(rng.random() < 0.5),
    )


def values(rng: np.random.Generator, count: int, width: int) -> Any:
    made = rng.normal(size=(count, width)).round(1)
    made[rng.random(made.shape) < 0.15] = np.nan
    return made


@given(SEEDS, st.integers(1, 5), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_any_trees_are_split_as_the_definition_says(
    seed: int, width: int, trees: int, depth: int
) -> None:
    rng = np.random.default_rng(seed)
    made = grown(rng, width, trees, depth)
    row, others = values(rng, 1, width)[0], values(rng, 4, width)
    found = made.contributions(row, others).mean(axis=0)
    np.testing.assert_allclose(found, shapley(made.margin, row, others), atol=1e-12)
    low, high = made.reach()
    assert low - 1e-9 <= made.margin(row[None])[0] <= high + 1e-9


@given(seed=SEEDS, width=st.integers(1, 6), steep=st.floats(0.01, 200), sigmoid=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_line_is_split_as_the_definition_says(
    seed: int, width: int, steep: float, *, sigmoid: bool
) -> None:
    rng = np.random.default_rng(seed)
    line = graphs.Line(rng.normal(size=width) * steep, float(rng.normal()), sigmoid)
    row, others = rng.normal(size=width), rng.normal(size=(4, width))
    found = lines.contributions(line, row, others)
    assert found is not None
    wanted = shapley(lambda rows: lines.score(line, rows), row, others)
    np.testing.assert_allclose(found, wanted, atol=1e-9, rtol=1e-9)


def test_a_line_through_a_sigmoid_that_costs_too_much_is_left_to_others() -> None:
    line = graphs.Line(np.full(200, 1e6), 0.0, sigmoid=True)
    assert lines.contributions(line, np.ones(200), np.zeros((50, 200))) is None


@given(SEEDS, st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_any_function_of_few_inputs_is_split_as_the_definition_says(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(width, 3))

    def score(rows: Any) -> Any:
        return np.tanh(np.nan_to_num(rows) @ weights).prod(axis=1)

    row, others = values(rng, 1, width), values(rng, 5, width)
    others[0] = row[0]
    mixer = coalitions.Mixer(row, others, [f"x{at}" for at in range(width)])
    found = coalitions.shapley(score, mixer, width, rng)
    assert found.errors is None
    np.testing.assert_allclose(found.contributions, shapley(score, row[0], others), atol=1e-12)


def test_estimates_are_unbiased_and_their_errors_honest() -> None:
    """Over many seeds the standardised errors have the spread that they state."""
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(11, 3))

    def score(rows: Any) -> Any:
        return np.tanh(rows @ weights).prod(axis=1)

    row, others = rng.normal(size=(1, 11)), rng.normal(size=(40, 11))
    mixer = coalitions.Mixer(row, others, [f"x{at}" for at in range(11)])
    exact = coalitions._all(score, mixer)
    off = []
    for seed in range(60):
        found, spread, _ = coalitions._drawn(score, mixer, np.random.default_rng(seed), None)
        off.append((found - exact) / spread)
    assert np.abs(np.mean(off)) < 0.15
    assert 0.9 < np.std(off) < 1.1


def test_an_input_that_is_the_same_everywhere_contributes_nothing_and_costs_nothing() -> None:
    row = np.array([[1.0, 2.0, np.nan]])
    others = np.array([[1.0, 5.0, np.nan], [1.0, 2.0, np.nan]])
    mixer = coalitions.Mixer(row, others, ["a", "b", "c"])
    assert mixer.active == [1]
    found = coalitions.shapley(
        lambda rows: np.nan_to_num(np.asarray(rows)).sum(axis=1), mixer, 3, np.random.default_rng(0)
    )
    assert found.contributions.tolist() == pytest.approx([0.0, -1.5, 0.0])
    assert found.evaluations == 4
