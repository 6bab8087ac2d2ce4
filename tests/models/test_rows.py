"""Rows: the shapes that come in, the shapes that models want, and clear refusals."""

import numpy as np
import polars as pl
import pytest

from setpoint.errors import Invalid
from setpoint.models.entities import Input, Signature
from setpoint.models.frames import columns_of, frame, signature_of
from setpoint.models.rows import matrix, only

SIGNATURE = Signature(
    inputs=[Input(name="distance", datatype="FP64"), Input(name="seats", datatype="INT64")]
)
MIXED = Signature(inputs=[*SIGNATURE.inputs, Input(name="origin", datatype="BYTES")])


def test_the_signature_has_a_type_for_every_column() -> None:
    table = pl.DataFrame(
        {
            "f": [1.5, None],
            "i": [1, 2],
            "gaps": [1, None],
            "b": [True, False],
            "s": ["ü", None],
            "empty": [None, None],
        },
        schema_overrides={"f": pl.Float32},
    ).with_columns(c=pl.col("s").cast(pl.Categorical))
    found = {each.name: each.datatype for each in signature_of(table, "regression").inputs}
    assert found == {
        "f": "FP64",
        "i": "INT64",
        "gaps": "FP64",
        "b": "BOOL",
        "s": "BYTES",
        "empty": "FP64",
        "c": "BYTES",
    }


def test_a_column_that_no_model_takes_is_refused_by_name() -> None:
    table = pl.DataFrame({"when": [None]}, schema={"when": pl.Datetime})
    with pytest.raises(Invalid, match="feature 'when' is a Datetime"):
        signature_of(table, "classification")


def test_a_model_without_features_is_refused() -> None:
    with pytest.raises(Invalid, match="no features"):
        signature_of(pl.DataFrame(), "classification")


def test_columns_become_a_matrix_in_the_order_of_the_signature() -> None:
    found = matrix({"seats": [[3], [4]], "distance": np.array([0.5, None])}, SIGNATURE)
    assert found.dtype == np.float64
    assert np.array_equal(found, [[0.5, 3], [np.nan, 4]], equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"distance": [1.0]}, "input 'seats' is missing"),
        ({"distance": [1.0], "seats": [1, 2]}, "different numbers of rows"),
        ({"distance": ["far"], "seats": [1]}, "'distance' holds something that is no number"),
        (np.zeros((2, 3)), r"rows of shape \[2, 3\] for 2 inputs"),
        (np.zeros(2), r"rows of shape \[2\]"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_the_callers_names(rows: object, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        matrix(rows, SIGNATURE)  # type: ignore[arg-type]


def test_a_frame_keeps_whole_numbers_whole_and_halves_halves() -> None:
    whole = frame({"distance": [1.0], "seats": [3], "origin": [b"EWR"]}, MIXED)
    assert whole.schema == {"distance": pl.Float64, "seats": pl.Int64, "origin": pl.String}
    for odd in (3.5, None, np.inf):
        found = frame({"distance": [1.0], "seats": [odd], "origin": [None]}, MIXED)
        assert found["seats"].dtype == pl.Float64
    assert frame(np.array([[1.0, 2.0]]), SIGNATURE).rows() == [(1.0, 2)]


def test_a_table_becomes_what_serving_sends() -> None:
    table = pl.DataFrame({"seats": [1, 2], "distance": [0.5, None], "other": ["x", "y"]})
    found = columns_of(table, SIGNATURE)
    assert np.array_equal(np.asarray(found), [[0.5, 1], [np.nan, 2]], equal_nan=True)
    mixed = columns_of(table.rename({"other": "origin"}), MIXED)
    assert isinstance(mixed, dict)
    assert mixed["origin"].tolist() == ["x", "y"]


def test_some_rows_are_picked_from_either_shape() -> None:
    keep = np.array([False, True])
    assert np.asarray(only(np.array([[1.0], [2.0]]), keep)).tolist() == [[2.0]]
    picked = only({"a": [1, 2]}, keep)
    assert isinstance(picked, dict)
    assert picked["a"].tolist() == [2]
