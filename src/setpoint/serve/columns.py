"""Rows as other protocols have them (records, columns, a matrix) in an endpoint's order."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.serve import blobs, tensors
from setpoint.serve.numbers import packed
from setpoint.serve.protocols import Floats
from setpoint.serve.v2 import Inputs, InputSpec, Rows


def from_records(records: Sequence[Any], inputs: Inputs, where: str) -> Rows:
    """Read one mapping a row; what a row leaves out is missing.

    Raises:
        Invalid: If a row is no mapping, a name is unknown, or a value has the wrong type.
    """
    if (numbers := _of_records(records, inputs)) is not None:
        return Rows(len(records), numbers, {})
    names: dict[str, None] = {}
    for i, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise Invalid(
                f"row {i} is {_kind(record)}, others are objects",
                where=f"{where}[{i}]",
                hint="send every row as an object of inputs, or every row as an array",
            )
        names |= dict.fromkeys(record)
    if records:
        tensors.check_names(names, inputs, where)  # before there is a column for each
    named = {name: [record.get(name) for record in records] for name in names}
    return from_columns(named, inputs, where, count=len(records))


def from_columns(
    named: Mapping[str, Any], inputs: Inputs, where: str, *, count: int | None = None
) -> Rows:
    """Read one sequence a column.

    Args:
        named: Sequences of one value a row, each maybe in a list of its own: ``[n]`` or ``[n, 1]``.
        inputs: What the endpoint takes.
        where: Of the columns in the request, for errors.
        count: Of rows, where it is known.

    Raises:
        Invalid: If an input is missing or unknown, columns differ in length, or a value has
            the wrong type.
    """
    if count == 0 and not named:
        return Rows(0, np.empty((0, len(inputs.numeric))), {})
    if (numbers := _of_columns(named, inputs)) is not None:
        return Rows(len(numbers), numbers, {})
    return _column_by_column(named, inputs, where, count)


def _column_by_column(
    named: Mapping[str, Any], inputs: Inputs, where: str, count: int | None
) -> Rows:
    """Read what is not all numbers, or say what is wrong with it; as `from_columns`."""
    tensors.check_names(named, inputs, where)
    tensors_of = {known.name for known in inputs.specs if known.shape}
    columns = {
        name: values if name in tensors_of else _flat(values, f"{where}.{name}")
        for name, values in named.items()
    }
    counts = {len(column) for column in columns.values()}
    if len(counts) > 1:
        raise Invalid(
            f"the inputs differ in their number of rows: {sorted(counts)}",
            where=where,
            hint="send every input with one value a row",
        )
    size = counts.pop() if counts else count or 0
    values = np.full((size, len(inputs.numeric)), np.nan)
    for i, name in enumerate(inputs.numeric):
        if name in columns:
            values[:, i] = _numbers(columns[name], f"{where}.{name}")
    texts: dict[str, list[str | None]] = {
        known.name: _texts(columns[known.name], known, f"{where}.{known.name}")
        if known.name in columns
        else [None] * size
        for known in inputs.specs
        if known.text
    }
    held = {
        known.name: _blob(columns[known.name], known, f"{where}.{known.name}")
        for known in inputs.specs
        if known.blob and known.name in columns
    }
    return Rows(size, values, texts, inputs.optional - named.keys(), held)


def from_rows(names: list[str], rows: Sequence[list[Any]], inputs: Inputs, where: str) -> Rows:
    """Read one sequence a row, with a value for each of the inputs that are named, in their order.

    Raises:
        Invalid: As `from_columns` does.
    """
    in_order = names == inputs.numeric  # as most clients write them, and quickly seen
    if not inputs.mixed and (in_order or inputs.names == set(names)):
        numbers = packed(chain.from_iterable(rows), len(rows), len(names))
        if numbers is not None:
            if not in_order:
                numbers = numbers.take([names.index(name) for name in inputs.numeric], axis=1)
            return Rows(len(rows), numbers, {})
    if not rows and not names:
        return from_columns({}, inputs, where, count=0)
    named = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return _column_by_column(named, inputs, where, len(rows))


def from_matrix(rows: Any, inputs: Inputs, where: str) -> Rows:
    """Read one sequence a row, its values in the order of the inputs.

    Raises:
        Invalid: If rows differ in length, have too many or too few values, or a value has the
            wrong type.
    """
    width = len(inputs.required)
    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    lengths = {len(row) if isinstance(row, list) else -1 for row in rows}
    if lengths - {width, len(inputs.specs)} or len(lengths) > 1:
        raise Invalid(
            "the rows have not as many values as the model has inputs",
            where=where,
            hint=f"send {width} values a row, in this order: {', '.join(inputs.required)}",
        )
    all_of_them = lengths != {width}
    names = [known.name for known in inputs.specs] if all_of_them else inputs.required
    return from_rows(names, rows, inputs, where)


def from_instances(rows: Any, inputs: Inputs, where: str) -> Rows:
    """Read rows that are all objects, all arrays, or, of a model with one input, all values.

    Raises:
        Invalid: If they are neither, or do not fit.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise Invalid(f"the rows are {_kind(rows)}", where=where, hint="send an array of rows")
    if not rows or isinstance(rows[0], Mapping):
        return from_records(rows, inputs, where)
    lone = len(inputs.specs) == 1 and inputs.specs[0].blob
    if isinstance(rows[0], Sequence) and not isinstance(rows[0], str | bytes) and not lone:
        return from_matrix(rows, inputs, where)
    if len(inputs.required) != 1:
        raise Invalid(
            f"row 0 is {_kind(rows[0])}, the model takes {len(inputs.required)} inputs",
            where=f"{where}[0]",
            hint=f"send every row as an object or an array of: {', '.join(inputs.required)}",
        )
    return from_columns({inputs.required[0]: rows}, inputs, where)


def _of_records(records: Sequence[Any], inputs: Inputs) -> Floats | None:
    """Return rows that have all inputs and nothing else, as numbers; None if they are others."""
    width = len(inputs.numeric)
    if (
        inputs.mixed
        or width == 1
        or any(type(one) is not dict or len(one) != width for one in records)
    ):
        return None
    values = chain.from_iterable(map(itemgetter(*inputs.numeric), records))
    try:
        return packed(values, len(records), width)
    except KeyError:
        return None


def _of_columns(named: Mapping[str, Any], inputs: Inputs) -> Floats | None:
    """Return all inputs, one list of numbers each; None if they are anything else."""
    if inputs.mixed or not named or named.keys() != inputs.names:
        return None
    columns = [named[name] for name in inputs.numeric]
    if any(type(column) is not list or len(column) != len(columns[0]) for column in columns):
        return None
    found = packed(chain.from_iterable(columns), len(columns), len(columns[0]))
    return None if found is None else np.ascontiguousarray(found.T)


def _blob(column: Sequence[Any], known: InputSpec, where: str) -> NDArray[Any]:
    if known.shape:
        return blobs.as_tensor(column, known.datatype, known.shape, where)
    return blobs.as_bytes(column, where)


def _flat(values: Any, where: str) -> Sequence[Any]:
    """Return a column without the lists of one that some clients put around each value."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise Invalid(f"this is {_kind(values)}", where=where, hint="send an array of values")
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]


def _numbers(column: Sequence[Any], where: str) -> Floats:
    found = packed(column, len(column), 1)
    if found is not None:
        return found.reshape(-1)
    for i, value in enumerate(column):
        if value is not None and not isinstance(value, int | float):
            raise Invalid(
                f"row {i} is {_kind(value)}, not a number",
                where=f"{where}[{i}]",
                hint="send numbers; null stands for a missing value",
            )
    try:
        return np.array(column, dtype=np.float64)
    except OverflowError:
        hint = "send numbers below 1e308"
        raise Invalid("a number is too large", where=where, hint=hint) from None


def _texts(column: Sequence[Any], known: InputSpec, where: str) -> list[str | None]:
    if known.key:
        column = tensors.as_keys(column)
    column = [None if value != value else value for value in column]  # noqa: PLR0124 - NaN
    column = blobs.as_texts(column, where)
    for i, value in enumerate(column):
        if value is not None and not isinstance(value, str):
            raise Invalid(
                f"row {i} is {_kind(value)}, not a text",
                where=f"{where}[{i}]",
                hint="send texts; null stands for a missing value",
            )
    return column


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float), "a number"),
        ((str, bytes), "a text"),
        (Mapping, "an object"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "an array")
