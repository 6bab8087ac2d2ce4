"""Rows mean the same however a protocol writes them: by row, by column, by name or by place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.serve import columns
from setpoint.serve.v2 import Inputs, InputSpec, Rows

NAMES = ["a", "b", "c"]
INPUTS = Inputs([InputSpec(name, text=False) for name in NAMES])
MIXED = Inputs([*INPUTS.specs, InputSpec("t", text=True)])
VALUES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False)


def in_every_form(rows: list[list[Any]], names: list[str], inputs: Inputs) -> list[Rows]:
    """Read rows as each form has them, of which each has a value for each of these names."""
    records = [dict(zip(names, row, strict=True)) for row in rows]
    by_column = {name: [record[name] for record in records] for name in names}
    in_order = [[record[spec.name] for spec in inputs.specs] for record in records]
    return [
        columns.from_records(records, inputs, "$"),
        columns.from_columns(by_column, inputs, "$"),
        columns.from_columns({n: [[v] for v in c] for n, c in by_column.items()}, inputs, "$"),
        columns.from_rows(names, rows, inputs, "$"),
        columns.from_matrix(in_order, inputs, "$"),
        columns.from_instances(in_order, inputs, "$"),
        columns.from_instances(records, inputs, "$"),
    ]


@given(st.data(), st.permutations(NAMES), st.integers(1, 4))
def test_numbers_are_the_same_in_every_form(
    data: st.DataObject, names: list[str], count: int
) -> None:
    row = st.lists(VALUES, min_size=3, max_size=3)
    rows = data.draw(st.lists(row, min_size=count, max_size=count))
    wanted = np.array([[row[names.index(n)] for n in NAMES] for row in rows], dtype=np.float64)
    for found in in_every_form(rows, names, INPUTS):
        np.testing.assert_array_equal(found.values, wanted)
        assert (found.count, found.texts, found.absent) == (count, {}, frozenset())
        assert found.values.flags.c_contiguous
        assert found.values.flags.writeable


@given(st.permutations([*NAMES, "t"]))
def test_texts_beside_numbers_are_the_same_in_every_form(names: list[str]) -> None:
    values = {"a": 1, "b": None, "c": 2.5, "t": "x"}
    for found in in_every_form([[values[name] for name in names]] * 2, names, MIXED):
        np.testing.assert_array_equal(found.values, [[1.0, np.nan, 2.5]] * 2)
        assert found.texts == {"t": ["x", "x"]}


@pytest.mark.parametrize(
    ("value", "said"),
    [("x", "row 1 is a text, not a number"), (10**400, "a number is too large")],
)
def test_a_value_that_is_no_number_is_told_in_every_form(value: Any, said: str) -> None:
    rows = [[1, 2, 3], [1, value, 3]]
    by_column = {name: [row[i] for row in rows] for i, name in enumerate(NAMES)}
    records = [dict(zip(NAMES, row, strict=True)) for row in rows]
    forms: list[Callable[[], Rows]] = [
        lambda: columns.from_records(records, INPUTS, "$"),
        lambda: columns.from_columns(by_column, INPUTS, "$"),
        lambda: columns.from_rows(NAMES, rows, INPUTS, "$"),
        lambda: columns.from_matrix(rows, INPUTS, "$"),
    ]
    for read in forms:
        with pytest.raises(Invalid, match=said) as caught:
            read()
        assert caught.value.where.startswith("$.b")


def test_a_record_that_lacks_an_input_or_has_another_is_refused() -> None:
    whole = {"a": 1, "b": 2, "c": 3}
    with pytest.raises(Invalid, match="unknown input 'd'"):
        columns.from_records([whole, {"a": 1, "b": 2, "c": 3, "d": 4}], INPUTS, "$")
    found = columns.from_records([whole, {"a": 1, "b": 2}], INPUTS, "$")
    np.testing.assert_array_equal(found.values, [[1, 2, 3], [1, 2, np.nan]])
    found = columns.from_records([whole, {"a": 1, "b": 2, "d": 3}][:1], INPUTS, "$")
    assert found.count == 1
    with pytest.raises(Invalid, match="unknown input 'd'"):
        columns.from_records([whole, {"a": 1, "b": 2, "d": 3}], INPUTS, "$")
