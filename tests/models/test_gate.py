"""The gate: what is promised must be shown, what must not break must not be seen broken."""

import math
import time

import msgspec
import numpy as np
import polars as pl
import pytest

from setpoint.models.entities import Check, Gate, Parity
from setpoint.models.gate import Cost, GateInput, Limit, Slices, evaluate_gate, metrics_of
from setpoint.models.leakage import examine
from setpoint.models.metrics import Floats


def sample(n: int = 4_000, strength: float = 1.2, seed: int = 7) -> tuple[Floats, Floats]:
    """Labels with 25 % positives, and calibrated scores that know something about them."""
    rng = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(-(-1.3 + strength * rng.normal(size=n))))
    return (rng.random(n) < truth).astype(np.float64), truth


LABEL, SCORE = sample()
NOISE = np.random.default_rng(1).random(LABEL.size)


def gate(**changes: object) -> Gate:
    values: dict[str, object] = {"metric": "roc_auc", "label": LABEL, "score": SCORE}
    return evaluate_gate(GateInput(**(values | changes)))  # type: ignore[arg-type]


def check(found: Gate, name: str) -> Check:
    return next(each for each in found.checks if each.name == name)


def test_a_version_whose_lower_bound_reaches_the_objective_passes() -> None:
    found = check(gate(objective=Limit(at_least=0.70)), "objective")
    assert found.passed
    assert found.low is not None
    assert found.value is not None
    assert 0.70 < found.low < found.value


def test_a_value_above_the_bound_is_not_enough_if_chance_may_have_made_it() -> None:
    value = check(gate(), "objective").value
    assert value is not None
    found = gate(objective=Limit(at_least=value - 0.002))
    assert not found.passed
    assert "not shown to reach" in check(found, "objective").detail


def test_a_loss_is_held_against_its_upper_bound() -> None:
    value = check(gate(metric="log_loss"), "objective").value
    assert value is not None
    assert gate(metric="log_loss", objective=Limit(at_most=value + 0.1)).passed
    assert not gate(metric="log_loss", objective=Limit(at_most=value + 1e-4)).passed


def test_labels_of_one_class_fail_with_the_reason() -> None:
    found = gate(label=np.zeros(LABEL.size), objective=Limit(at_least=0.6))
    assert not found.passed
    assert "all 4,000 labels are the same" in check(found, "objective").detail


def test_one_output_that_is_no_number_fails_the_gate_and_says_how_many() -> None:
    score = SCORE.copy()
    score[[3, 9]] = np.nan
    found = gate(score=score)
    assert not found.passed
    assert "2 of 4,000 outputs" in check(found, "valid outputs").detail
    assert math.isnan(metrics_of(GateInput(metric="f1", label=LABEL, score=score), ["f1"])["f1"])


def test_no_rows_at_all_fail_the_gate() -> None:
    assert not gate(label=np.empty(0), score=np.empty(0)).passed


def test_a_version_must_be_shown_to_beat_its_baseline() -> None:
    assert check(gate(baseline=NOISE), "better than baseline").passed
    assert not check(gate(baseline=SCORE), "better than baseline").passed


def in_storms(rows: int = 4_000) -> dict[str, object]:
    """Two weeks in which a model is right or wrong all day, and a baseline a little worse."""
    rng = np.random.default_rng(3)
    day = np.arange(rows) * 14 // rows
    known = rng.normal(size=rows)
    helps = np.where(day % 2, 2.4, -1.0)  # every other day it misleads
    label = (rng.random(rows) < 1 / (1 + np.exp(1.3 - helps * known))).astype(np.float64)
    return {
        "label": label,
        "score": 1 / (1 + np.exp(1.3 - known)),
        "baseline": 1 / (1 + np.exp(1.3 - 0.2 * known - 0.9 * rng.normal(size=rows))),
        "times": day * 86_400_000_000,
    }


def test_what_holds_by_rows_may_not_be_shown_by_days() -> None:
    given = in_storms()
    by_rows = check(gate(**given | {"times": None}), "objective")
    assert by_rows.low is not None
    bound = Limit(at_least=by_rows.low)
    assert gate(**given | {"times": None}, objective=bound).passed
    assert "not shown to reach" in check(gate(**given, objective=bound), "objective").detail


def test_better_than_the_baseline_on_these_days_says_so_where_others_may_differ() -> None:
    found = check(gate(**in_storms()), "better than baseline")
    assert found.passed
    assert found.low is not None
    assert found.low < 0, "the interval is the one for all days"
    assert found.detail.endswith("; not shown for other days")


def test_an_equally_good_version_may_follow_the_live_one_and_a_worse_may_not() -> None:
    assert check(gate(live=SCORE), "not worse than live").passed
    assert check(gate(live=NOISE), "not worse than live").passed
    worse = check(gate(score=NOISE, live=SCORE), "not worse than live")
    assert not worse.passed
    assert "worse than live" in worse.detail


def test_rows_that_the_live_version_could_not_answer_are_left_out() -> None:
    live = np.where(np.arange(LABEL.size) % 2, SCORE, np.nan)
    assert check(gate(live=live), "not worse than live").value == 0


def test_the_worst_slice_is_named_and_broken_ones_fail() -> None:
    origin = np.array(["EWR", "JFK", "LGA", None], object)[np.arange(LABEL.size) % 4]
    score = np.where(origin == "JFK", 1 - SCORE, SCORE)
    by = {"origin": origin}
    slices = Slices(by=by, limits={"roc_auc": Limit(at_least=0.6)})
    found = check(gate(score=score, slices=slices), "slices by origin: roc_auc")
    assert not found.passed
    assert "origin=JFK (1,000 rows)" in found.detail
    fine = check(gate(slices=slices), "slices by origin: roc_auc")
    assert fine.passed


def test_slices_too_small_to_judge_are_counted() -> None:
    origin = np.where(np.arange(LABEL.size) < 20, "tiny", "big").astype(object)
    slices = Slices(by={"origin": origin}, limits={"roc_auc": Limit(at_least=0.6)})
    found = check(gate(slices=slices), "slices by origin: roc_auc")
    assert found.passed
    assert "1 too small" in found.detail


def test_overconfident_probabilities_fail_calibration_and_calibrated_ones_pass() -> None:
    sure = np.where(SCORE > 0.25, 0.95, 0.02)
    assert check(gate(calibration_at_most=0.03), "calibration error").passed
    assert not check(gate(score=sure, calibration_at_most=0.03), "calibration error").passed


def test_a_cost_that_surely_rises_too_much_fails_and_noise_does_not() -> None:
    rng = np.random.default_rng(3)
    live = rng.exponential(size=LABEL.size)

    def passed(new: Floats) -> bool:
        cost = Cost(name="cost", new=new, live=live, rise=0.05)
        return check(gate(cost=cost), "cost").passed

    assert passed(live * 1.04)
    assert passed(rng.permutation(live))
    assert not passed(live * 1.10)


def test_a_version_without_parity_passes_and_says_that_the_native_model_serves() -> None:
    found = check(gate(parity=Parity(held=False, why="it splits on categories")), "parity")
    assert found.passed
    assert found.detail == "the native model serves: it splits on categories"


@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("latency", {"latency": 0.03, "latency_at_most": 0.02}),
        ("size", {"size": 11, "size_at_most": 10}),
    ],
)
def test_a_budget_that_is_exceeded_fails(name: str, over: dict[str, object]) -> None:
    assert not check(gate(**over), name).passed


def test_a_feature_that_is_the_label_is_leakage() -> None:
    features = pl.DataFrame({"distance": NOISE, "arrived_late": LABEL * 2})
    found = gate(leakage=examine(features, LABEL, features + 0.001, LABEL))
    assert not found.passed
    assert "arrived_late alone tells the label" in check(found, "leakage").detail


def test_every_number_of_a_gate_survives_json() -> None:
    found = gate(label=np.zeros(LABEL.size), baseline=NOISE, live=SCORE, calibration_at_most=0.1)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Gate) == found


def test_a_gate_over_twenty_thousand_rows_takes_less_than_half_a_second() -> None:
    label, score = sample(20_000)
    noise = np.random.default_rng(2).random(label.size)
    slices = Slices(
        by={"origin": np.arange(label.size) % 20},
        limits={"roc_auc": Limit(at_least=0.5)},
    )
    started = time.thread_time()
    gate(label=label, score=score, baseline=noise, live=noise, slices=slices)
    assert time.thread_time() - started < 0.5
