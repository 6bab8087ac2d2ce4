"""Parity: a difference is found where it is, and named."""

from typing import Any

import numpy as np
import pytest

from setpoint.models.entities import Input, Output, Parity, Signature
from setpoint.models.metrics import Floats
from setpoint.models.parity import compare, refusals
from setpoint.models.protocols import Rows

SIGNATURE = Signature(inputs=[Input(name="a", datatype="FP64")])
SPLIT = 0.1 + 0.2  # no float32 is this number
SAMPLE = np.random.default_rng(2).normal(size=(500, 1))


def native(rows: Rows) -> Floats:
    return np.where(np.asarray(rows)[:, 0] <= SPLIT, 0.2, 0.8)


def compared(other: object, splits: list[tuple[int, float]]) -> Parity:
    rng = np.random.default_rng(3)
    return compare(native, other, SAMPLE, SIGNATURE, rng, splits=splits)  # type: ignore[arg-type]


def test_the_same_model_holds_on_every_probe() -> None:
    found = compared(native, [(0, SPLIT)])
    assert found.held
    assert found.max_difference == 0
    assert set(found.probes) == {
        "training rows",
        "thresholds",
        "missing",
        "infinite",
        "minus infinite",
    }


def test_a_threshold_rounded_to_single_precision_is_found() -> None:
    rounded = np.float64(np.float32(SPLIT))

    def single(rows: Rows) -> Floats:
        return np.where(np.asarray(rows)[:, 0] <= rounded, 0.2, 0.8)

    assert compared(single, []).held  # no training row lies between the two
    found = compared(single, [(0, SPLIT)])
    assert not found.held
    assert found.flips > 0
    assert found.why.startswith("thresholds: ")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda x, s: np.where(np.isnan(x), 0.2, s), "missing: 50 rows change sides"),
        (lambda x, s: np.where(np.isposinf(x), np.nan, s), "infinite: 50 outputs"),
        (lambda _, s: s + 1e-3, "training rows: outputs differ by up to 0.001"),
    ],
)
def test_every_kind_of_difference_is_named(change: object, why: str) -> None:
    def other(rows: Rows) -> Floats:
        return change(np.asarray(rows)[:, 0], native(rows))  # type: ignore[operator, no-any-return]

    found = compared(other, [])
    assert not found.held
    assert why in found.why


def test_a_form_that_refuses_what_the_other_answers_does_not_hold() -> None:
    def refusing(rows: Rows) -> Floats:
        if np.isnan(np.asarray(rows)).any():
            raise ValueError("no NaN please")
        return native(rows)

    assert compared(refusing, []).why == "missing: only the compiled model refuses such rows"
    assert refusals(refusing, SAMPLE, SIGNATURE) == (False, True)
    assert refusals(native, SAMPLE, SIGNATURE) == (True, True)


SEVERAL = Signature(
    inputs=SIGNATURE.inputs,
    classes=["a", "b", "c"],
    outputs=[Output(name="probabilities", datatype="FP64", shape=[3])],
)


def shares(rows: Rows) -> dict[str, Floats]:
    """Probabilities of three classes that two rows in three are almost torn about."""
    above = (native(rows) > 0.5).astype(float)
    first = 0.4 + 1e-7 * above
    return {"probabilities": np.stack([first, np.full_like(first, 0.4), 0.6 - first], axis=1)}


@pytest.mark.parametrize(
    ("change", "why", "flips", "non_finite"),
    [
        (lambda p: p, "", 0, 0),
        (
            lambda p: np.add(p, [0, 2e-7, 0]),
            "training rows: 500 rows have another likeliest class",
            1,
            0,
        ),
        (lambda p: np.add(p, [0, 0, 2e-5]), "training rows: outputs differ by up to 2e-05", 0, 0),
        (lambda p: p * [1, 1, np.nan], "training rows: 500 outputs are a number in one form", 0, 1),
    ],
)
def test_several_classes_are_compared_by_the_likeliest_and_by_all_probabilities(
    change: Any, why: str, flips: int, non_finite: int
) -> None:
    def other(rows: Rows) -> dict[str, Floats]:
        return {"probabilities": change(shares(rows)["probabilities"])}

    rng = np.random.default_rng(3)
    found = compare(shares, other, SAMPLE, SEVERAL, rng, splits=[(0, SPLIT)])
    assert found.why.startswith(why)
    assert found.held is (not why)
    assert found.rows == sum(found.probes.values()) > 600
    assert (found.flips > 0, found.non_finite > 0) == (bool(flips), bool(non_finite))


def test_each_of_several_values_is_held_to_its_own_size() -> None:
    signature = Signature(
        inputs=SIGNATURE.inputs,
        kind="regression",
        outputs=[Output(name="output", datatype="FP64", shape=[2])],
        scored=False,
    )

    def values(rows: Rows) -> dict[str, Floats]:
        return {"output": np.stack([native(rows) * 1e6, native(rows)], axis=1)}

    def nearly(rows: Rows) -> dict[str, Floats]:
        return {"output": values(rows)["output"] + far}

    rng = np.random.default_rng(3)
    far = [1.0, 0.0]
    assert compare(values, nearly, SAMPLE, signature, rng, splits=[]).held
    far = [0.0, 1e-4]
    found = compare(values, nearly, SAMPLE, signature, rng, splits=[])
    assert found.why.startswith("training rows: outputs differ by up to 0.0001")


def test_a_threshold_that_only_the_missing_pass_is_not_probed() -> None:
    def refusing(rows: Rows) -> Floats:
        if np.isinf(np.asarray(rows)).any():
            raise ValueError("no infinities please")
        return native(rows)

    finite = Signature(inputs=SIGNATURE.inputs, infinite=False)
    rng = np.random.default_rng(3)
    found = compare(refusing, native, SAMPLE, finite, rng, splits=[(0, np.inf), (0, SPLIT)])
    assert found.held, found.why
    assert found.probes["thresholds"] == 6
