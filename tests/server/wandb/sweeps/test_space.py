"""The space of a sweep."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from setpoint.errors import Invalid
from setpoint.server.wandb.sweeps.space import (
    Parameter,
    at,
    dimensions,
    grid,
    grid_size,
    nth,
    parameters,
)

DRAWS = 4_000
_LOG = {"min": 1e-4, "max": 1e-1}


def _one(**told: Any) -> Parameter:
    (found,) = parameters({"parameters": {"x": told}})
    return found


@pytest.mark.parametrize(
    ("told", "law"),
    [
        ({"min": -1.0, "max": 3.0}, stats.uniform(-1, 4)),
        ({"distribution": "normal", "mu": 2, "sigma": 3}, stats.norm(2, 3)),
        ({"distribution": "log_normal", "mu": 1, "sigma": 0.5}, stats.lognorm(0.5, 0, math.e)),
        ({"distribution": "log_uniform_values", **_LOG}, stats.loguniform(1e-4, 1e-1)),
        (
            {"distribution": "log_uniform", "min": -3, "max": 1},
            stats.loguniform(math.exp(-3), math.e),
        ),
        ({"distribution": "beta", "a": 2, "b": 5}, stats.beta(2, 5)),
    ],
)
def test_draws_follow_their_law(told: dict[str, Any], law: Any) -> None:
    parameter = _one(**told)
    draws = [parameter.at(u) for u in np.random.default_rng(1).random(DRAWS)]
    assert stats.kstest(draws, law.cdf).pvalue > 1e-4


@given(st.floats(0, 1, exclude_max=True), st.integers(-5, 5), st.integers(0, 10))
def test_whole_numbers_stay_between_their_bounds(u: float, low: int, width: int) -> None:
    value = _one(min=low, max=low + width).at(u)
    assert isinstance(value, int)
    assert low <= value <= low + width


@given(st.floats(0, 1, exclude_max=True))
def test_quantized_values_are_multiples_of_their_step(u: float) -> None:
    value = _one(distribution="q_uniform", min=0.0, max=1.0, q=0.05).at(u)
    assert math.isclose(value / 0.05, round(value / 0.05), abs_tol=1e-9)


def test_values_are_drawn_by_their_weights() -> None:
    parameter = _one(values=["a", "b", "c"], probabilities=[0.2, 0.0, 0.8])
    draws = [parameter.at(u) for u in np.random.default_rng(1).random(DRAWS)]
    assert draws.count("b") == 0
    assert abs(draws.count("a") / DRAWS - 0.2) < 0.03


def test_a_grid_has_every_combination_once_and_any_by_its_number() -> None:
    space = parameters(
        {
            "parameters": {
                "a": {"values": ["x", "y"]},
                "n": {"min": 1, "max": 3},
                "inner": {
                    "parameters": {"q": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5}}
                },
                "fixed": {"value": {"k": 1}},
            }
        }
    )
    found = list(grid(space))
    expected = itertools.product(["x", "y"], [1, 2, 3], [0, 0.5, 1])
    assert [(one["a"], one["n"], one["inner"]["q"]) for one in found] == list(expected)
    assert all(one["fixed"] == {"k": 1} for one in found)
    assert grid_size(space) == len(found) == 18
    assert [nth(space, number) for number in range(18)] == found
    assert dimensions(space) == 3
    assert at(space, (0.0, 0.0, 0.0)) == found[0]


@pytest.mark.parametrize(
    ("told", "what"),
    [
        (3, "described by an object"),
        ({"values": []}, "not empty"),
        ({"values": [1, 2], "probabilities": [0.5]}, "one probability"),
        ({"min": 0.0}, "needs min and max"),
        ({"min": 2.0, "max": 1.0}, "min above its max"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "min above 0"),
        ({"distribution": "zipf", "min": 0, "max": 1}, "no distribution 'zipf'"),
        ({"min": "a", "max": 1}, "where a number is needed"),
        ({"distribution": "q_normal", "q": 0}, "q above 0"),
    ],
)
def test_what_is_no_parameter_is_named(told: Any, what: str) -> None:
    with pytest.raises(Invalid, match=f"parameter outer.x .*{what}"):
        parameters({"parameters": {"outer": {"parameters": {"x": told}}}})


def test_no_grid_is_laid_over_what_cannot_be_counted() -> None:
    with pytest.raises(Invalid, match="no values to count"):
        grid_size([_one(min=0.0, max=1.0)])
