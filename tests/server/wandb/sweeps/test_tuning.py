"""What a sweep tries next, and what it stops."""

import math
from typing import Any

import numpy as np
import pytest

from setpoint.errors import Invalid
from setpoint.server.wandb.sweeps.space import Parameter, at, parameters
from setpoint.server.wandb.sweeps.tuning import (
    Goal,
    Hyperband,
    Trial,
    bayes,
    goal,
    hyperband,
    random,
    stopped,
)

_SPACE = parameters(
    {
        "parameters": {
            "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
            "x": {"min": -1.0, "max": 1.0},
            "net": {"values": ["a", "b"]},
        }
    }
)


def _loss(args: dict[str, Any]) -> float:
    loss = float((math.log10(args["lr"]) + 2.3) ** 2 + (args["x"] - 0.3) ** 2)
    return loss + (0.5 if args["net"] == "b" else 0.0)


def _best_of(space: list[Parameter], seed: int, count: int, *, learns: bool) -> float:
    rng = np.random.default_rng(seed)
    tried: list[Trial] = []
    for _ in range(count):
        point = bayes(space, tried, rng) if learns else random(space, rng)
        tried.append(Trial(point, _loss(at(space, point))))
    return min(trial.loss for trial in tried if trial.loss is not None)


@pytest.mark.slow
def test_a_model_of_what_was_tried_finds_better_places_than_chance() -> None:
    seeds = range(5)
    learned = [_best_of(_SPACE, seed, 25, learns=True) for seed in seeds]
    chance = [_best_of(_SPACE, seed, 25, learns=False) for seed in seeds]
    assert np.median(learned) < np.median(chance) / 3


def test_losses_that_are_no_number_and_runs_that_go_on_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    losses = [0.5, math.inf, None, 0.1, 0.9, 0.4, math.inf, 0.3, None]
    tried = [Trial(random(_SPACE, rng), loss) for loss in losses]
    point = bayes(_SPACE, tried, rng)
    assert len(point) == 3
    assert all(0 <= u < 1 for u in point)


def test_the_same_seed_chooses_the_same() -> None:
    tried = [Trial(random(_SPACE, np.random.default_rng(i)), float(i)) for i in range(8)]
    first, second = (bayes(_SPACE, tried, np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_what_is_no_number_is_as_bad_as_can_be() -> None:
    larger, smaller = Goal("acc", maximize=True), Goal("loss", maximize=False)
    assert (larger.loss(0.9), smaller.loss(0.9)) == (-0.9, 0.9)
    assert [smaller.loss(value) for value in (math.nan, None, "x", True)] == [math.inf] * 4


def test_a_model_needs_a_metric() -> None:
    assert goal({"method": "random"}) is None
    with pytest.raises(Invalid, match="needs a metric"):
        goal({"method": "bayes"})


def test_a_run_is_stopped_where_enough_runs_did_better() -> None:
    rule = Hyperband((2, 4, 8), eta=2)
    curves = {"a": [1.0] * 8, "b": [2.0] * 4, "c": [3.0] * 4, "d": [9.0] * 5, "young": [99.0]}
    assert stopped(rule, curves, list(curves)) == ["c", "d"]
    assert stopped(rule, {"alone": [5.0] * 100}, ["alone"]) == []


def test_a_run_is_judged_by_its_best_so_far() -> None:
    rule = Hyperband((3,), eta=2)
    curves = {"spike": [0.1, 9.0, 9.0], "flat": [1.0, 1.0, 1.0]}
    assert stopped(rule, curves, ["spike", "flat"]) == ["flat"]


def test_bands_are_read_either_way() -> None:
    read = hyperband({"early_terminate": {"type": "hyperband", "min_iter": 3}})
    assert read is not None
    assert read.bands[:3] == (3, 9, 27)
    read = hyperband({"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2}})
    assert read is not None
    assert read.bands == (3, 9)
    assert hyperband({}) is None
    with pytest.raises(Invalid, match="min_iter"):
        hyperband({"early_terminate": {"type": "hyperband"}})
