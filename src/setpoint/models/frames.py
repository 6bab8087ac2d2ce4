"""Rows as data frames: what training has, and what some models want when they serve.

Apart from `rows`, since most models serve without Polars.
"""

from typing import Any

import numpy as np
import polars as pl

from setpoint.errors import Invalid
from setpoint.models.entities import Input, Signature
from setpoint.models.protocols import Rows
from setpoint.models.rows import by_name, number, text

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


def _series(values: Any, of: Input) -> pl.Series:
    if not of.numeric:
        return pl.Series(of.name, text(values).tolist(), dtype=pl.String, strict=False)
    column = pl.Series(of.name, number(values, of))
    exact = column.cast(_POLARS[of.datatype], strict=False)
    # A half or a NaN in a column of whole numbers stays what it is.
    return exact if exact.cast(pl.Float64).eq_missing(column).all() else column
