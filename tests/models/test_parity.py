"""Parity: a difference is found where it is, and named."""

import numpy as np
import pytest

from setpoint.models.entities import Input, Parity, Signature
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
