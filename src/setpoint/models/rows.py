"""Rows in the shapes that models want: a float matrix, columns, or a data frame."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.models.entities import Input, Signature
from setpoint.models.protocols import Floats, Rows

_POLARS: dict[str, type[pl.DataType]] = {
    "FP64": pl.Float64,
    "FP32": pl.Float64,
    "INT64": pl.Int64,
    "BOOL": pl.Boolean,
    "BYTES": pl.String,
}


def signature_of(features: pl.DataFrame, kind: str) -> Signature:
    """Return the signature of a model trained on `features`.

    Every number is FP64 but whole numbers and booleans without nulls; text, categories and
    enums are BYTES.

    Raises:
        Invalid: If there are no columns, or one is neither number, boolean nor text.
    """
    if not features.width:
        raise Invalid("the model has no features", hint="name some under features: in the spec")
    inputs = [Input(name=each.name, datatype=_datatype(each)) for each in features]
    return Signature(inputs=inputs, kind=kind)


def _datatype(column: pl.Series) -> str:
    kind = column.dtype
    if kind.is_float() or kind.is_decimal() or kind == pl.Null:
        return "FP64"
    if kind.is_integer():
        return "FP64" if column.null_count() else "INT64"
    if kind == pl.Boolean:
        return "FP64" if column.null_count() else "BOOL"
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return "BYTES"
    raise Invalid(
        f"feature {column.name!r} is a {kind}, which no model takes",
        hint="turn it into a number, a boolean or text in the feature function",
    )


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


def frame(rows: Rows, signature: Signature) -> pl.DataFrame:
    """Return rows as a data frame with the columns of the signature, in its order."""
    held = by_name(rows, signature)
    return pl.DataFrame([_series(held[each.name], each) for each in signature.inputs])


def columns_of(features: pl.DataFrame, signature: Signature) -> Rows:
    """Return a feature table as rows: a matrix if all inputs are numbers, else columns."""
    if signature.numeric:
        wanted = features.select(pl.col(signature.names).cast(pl.Float64))
        return np.ascontiguousarray(wanted.to_numpy())
    return {
        each.name: features[each.name].cast(pl.Float64).to_numpy()
        if each.numeric
        else features[each.name].cast(pl.String).to_numpy()
        for each in signature.inputs
    }


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
    return {name: np.asarray(values, object)[keep] for name, values in rows.items()}


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


def _series(values: Any, of: Input) -> pl.Series:
    if not of.numeric:
        return pl.Series(of.name, text(values).tolist(), dtype=pl.String, strict=False)
    column = pl.Series(of.name, number(values, of))
    exact = column.cast(_POLARS[of.datatype], strict=False)
    # A half or a NaN in a column of whole numbers stays what it is.
    return exact if exact.cast(pl.Float64).eq_missing(column).all() else column


def _column(rows: Mapping[str, Any], of: Input) -> Any:
    try:
        return rows[of.name]
    except KeyError:
        raise Invalid(
            f"input {of.name!r} is missing",
            hint=f"given: {', '.join(map(str, rows)) or 'none'}",
        ) from None
