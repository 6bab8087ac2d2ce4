"""Rows in the shapes that models want: a float matrix, or columns. Data frames: `frames`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.models.entities import Input, Signature
from setpoint.models.protocols import Floats, Rows


def matrix(rows: Rows, signature: Signature) -> Floats:
    """Return rows as float64 [n, k], in the order of the signature; None becomes NaN.

    Raises:
        Invalid: If a column is missing, has another length or is no number.
    """
    if isinstance(rows, Mapping):
        held = by_name(rows, signature)
        return np.column_stack([number(held[each.name], each) for each in signature.inputs])
    values = np.asarray(rows, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(signature.inputs):
        raise Invalid(
            f"rows of shape {list(values.shape)} for {len(signature.inputs)} inputs",
            hint=f"send [n, {len(signature.inputs)}]: {', '.join(signature.names)}",
        )
    return values


def by_name(rows: Rows, signature: Signature) -> Mapping[str, Any]:
    """Return rows as one array or list per input, all of one length.

    Raises:
        Invalid: If a column is missing or has another length.
    """
    if not isinstance(rows, Mapping):
        values = matrix(rows, signature)
        return {name: values[:, at] for at, name in enumerate(signature.names)}
    if len({len(_column(rows, each)) for each in signature.inputs}) > 1:
        lengths = ", ".join(f"{name}: {len(values)}" for name, values in rows.items())
        raise Invalid("the inputs have different numbers of rows", where=lengths)
    return rows


def numeric(rows: Rows, signature: Signature) -> Floats:
    """Return the numeric inputs of rows as float64 [n, numeric inputs]."""
    if not isinstance(rows, Mapping):
        return matrix(rows, signature)
    columns = [number(rows[i.name], i) for i in signature.inputs if i.numeric and i.name in rows]
    return np.column_stack(columns) if columns else np.empty((0, 0))


def only(rows: Rows, keep: NDArray[np.bool_]) -> Rows:
    """Return the rows where `keep` [n] says so, in the shape they came in."""
    if not isinstance(rows, Mapping):
        return np.asarray(rows)[keep]
    return {name: _array(values)[keep] for name, values in rows.items()}


def _array(values: Any) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else np.asarray(values, object)


def number(values: Any, of: Input) -> Floats:
    """Return one input as float64 [n]; [n, 1] is flattened, None becomes NaN."""
    try:
        found: Floats = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise Invalid(
            f"input {of.name!r} holds something that is no number",
            hint=f"it is declared as {of.datatype}",
        ) from None
    return found


def text(values: Any) -> NDArray[Any]:
    """Return one input of text as an object array [n] of str; None stays None."""
    found = np.asarray(values, dtype=object).reshape(-1)
    if any(isinstance(each, bytes) for each in found):
        found = np.array(
            [each.decode() if isinstance(each, bytes) else each for each in found],
            dtype=object,
        )
    return found


def _column(rows: Mapping[str, Any], of: Input) -> Any:
    try:
        return rows[of.name]
    except KeyError:
        raise Invalid(
            f"input {of.name!r} is missing",
            hint=f"given: {', '.join(map(str, rows)) or 'none'}",
        ) from None
