"""Rows as data frames: what training has, and what some models want when they serve.

Apart from `rows`, since most models serve without Polars.
"""

from collections.abc import Callable, Mapping
from math import isnan
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Input, Signature
from setpoint.models.protocols import Rows
from setpoint.models.rows import by_name, matrix, number, text

_POLARS: dict[str, type[pl.DataType]] = {
    "FP64": pl.Float64,
    "FP32": pl.Float64,
    "INT64": pl.Int64,
    "BOOL": pl.Boolean,
    "BYTES": pl.String,
}
#: Of the elements of a tensor.
_EXACT: dict[str, Any] = {
    "FP64": pl.Float64,
    "FP32": pl.Float32,
    "INT64": pl.Int64,
    "INT32": pl.Int32,
    "INT16": pl.Int16,
    "INT8": pl.Int8,
    "UINT64": pl.UInt64,
    "UINT32": pl.UInt32,
    "UINT16": pl.UInt16,
    "UINT8": pl.UInt8,
    "BOOL": pl.Boolean,
}


def signature_of(features: pl.DataFrame, kind: str) -> Signature:
    """Return the signature of a model trained on `features`.

    Every number is FP64 but whole numbers and booleans without nulls; text, categories and
    enums are BYTES, binary columns raw BYTES. A column of arrays is a tensor a row.

    Raises:
        Invalid: If there are no columns, or one is nothing that a model takes.
    """
    if not features.width:
        raise Invalid("the model has no features", hint="name some under features: in the spec")
    return Signature(inputs=[_input(each) for each in features], kind=kind)


def _input(column: pl.Series) -> Input:
    kind = column.dtype
    if isinstance(kind, pl.Array):
        inner = _exact_datatype(column.name, _innermost(kind))
        return Input(name=column.name, datatype=inner, shape=list(kind.shape))
    if kind == pl.Binary:
        return Input(name=column.name, datatype="BYTES", raw=True)
    return Input(name=column.name, datatype=_datatype(column))


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
    raise _strange(column.name, kind)


def _strange(name: str, kind: Any) -> Invalid:
    return Invalid(
        f"feature {name!r} is a {kind}, which no model takes",
        hint="turn it into a number, a boolean, text, bytes or an array of numbers",
    )


def _innermost(kind: Any) -> Any:
    while isinstance(kind, pl.Array):
        kind = kind.inner
    return kind


def _exact_datatype(name: str, kind: Any) -> str:
    for datatype, known in _EXACT.items():
        if kind == known:
            return datatype
    raise _strange(name, kind)


def example_of(given: Any) -> pl.DataFrame:
    """Return rows that somebody gives as an example as a data frame.

    Args:
        given: A polars, pandas or Arrow table; a mapping of arrays, of one length each; or one
            array: [n, k] is k columns ``x0`` …, [n, …] of more dimensions one ``input``.

    Raises:
        Invalid: If it is nothing of the kind, or rows have different shapes.
    """
    if isinstance(given, pl.DataFrame):
        return given.select(_squared(each) for each in given)
    if hasattr(given, "to_pydict"):
        given = given.to_pydict()
    elif hasattr(given, "iloc"):
        given = {str(name): _told(given[name]) for name in given.columns}
    elif not isinstance(given, Mapping):
        array = np.asarray(given)
        if array.ndim == 1:
            array = array.reshape(-1, 1) if array.dtype.kind in "fiub" else array
        if array.ndim == 2 and array.dtype.kind in "fiub":
            given = {f"x{at}": array[:, at] for at in range(array.shape[1])}
        else:
            given = {"input": given if array.dtype.kind in "OUS" else array}
    try:
        made = pl.DataFrame({str(name): _series_of(values) for name, values in given.items()})
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise Invalid(
            f"the example cannot be read as rows: {str(error).splitlines()[0]}",
            hint="give a data frame, a mapping of columns, or an array",
        ) from None
    return made.select(_squared(each) for each in made)


def _told(column: Any) -> list[Any]:
    """Return the values of a pandas column, whose missing ones may be NaN, NaT or NA."""
    return [
        None if missing else value for value, missing in zip(column, column.isna(), strict=True)
    ]


def _series_of(values: Any) -> Any:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pl.Series(values)
    if not isinstance(values, np.ndarray | list | tuple):
        return values
    if any(isinstance(value, str) for value in values):  # pandas has NaN for a missing text
        values = [None if isinstance(each, float) and isnan(each) else each for each in values]
    return pl.Series(values)


def _squared(column: pl.Series) -> pl.Series:
    """Return a column of lists of one length as one of arrays."""
    if not isinstance(column.dtype, pl.List):
        return column
    lengths = column.list.len().unique().to_list()
    if len(lengths) != 1:
        raise Invalid(
            f"the rows of {column.name!r} have different lengths",
            hint="pad them to one length, or give them as text",
        )
    inner = column.explode()
    squared = _squared(inner)
    return pl.Series(
        column.name, squared.to_numpy().reshape(len(column), *_shape(squared, lengths))
    )


def _shape(inner: pl.Series, lengths: list[int]) -> tuple[int, ...]:
    kind = inner.dtype
    return (lengths[0], *(kind.shape if isinstance(kind, pl.Array) else ()))


def frame(rows: Rows, signature: Signature) -> pl.DataFrame:
    """Return rows as a data frame with the columns of the signature, in its order."""
    held = by_name(rows, signature)
    return pl.DataFrame([_series(held[each.name], each) for each in signature.inputs])


def handing(kind: str) -> Callable[[Rows, Signature], Any]:
    """Return what turns rows into what a model is handed.

    Raises:
        Invalid: If there is no such kind.
    """
    if kind not in _HANDED:
        raise Invalid(f"a model cannot be handed {kind!r}", hint=f"one of: {', '.join(_HANDED)}")
    return _HANDED[kind]


def _pandas(rows: Rows, signature: Signature) -> Any:
    try:
        import pandas as pd  # noqa: PLC0415 - the model's own wish
    except ImportError:
        raise MissingExtra("the model is handed pandas frames", hint="pip install pandas") from None
    held = frame(rows, signature)
    return pd.DataFrame({each.name: _cells(each) for each in held})


def _cells(column: pl.Series) -> Any:
    return column.to_list() if column.dtype in (pl.Binary, pl.Array) else column.to_numpy()


def _arrow(rows: Rows, signature: Signature) -> Any:
    try:
        return frame(rows, signature).to_arrow()
    except ModuleNotFoundError:
        raise MissingExtra("the model is handed Arrow", hint="pip install pyarrow") from None


_HANDED: dict[str, Callable[[Rows, Signature], Any]] = {
    "polars": frame,
    "pandas": _pandas,
    "numpy": matrix,
    "arrow": _arrow,
    "columns": by_name,
}


def columns_of(features: pl.DataFrame, signature: Signature) -> Rows:
    """Return a feature table as rows: a matrix if all inputs are numbers, else columns."""
    if signature.numeric:
        wanted = features.select(pl.col(signature.names).cast(pl.Float64))
        return np.ascontiguousarray(wanted.to_numpy())
    return {each.name: _column(features[each.name], each) for each in signature.inputs}


def _column(column: pl.Series, of: Input) -> NDArray[Any]:
    if of.numeric:
        return column.cast(pl.Float64).to_numpy()
    if of.shape:
        return np.ascontiguousarray(column.to_numpy())
    return column.cast(pl.Binary if of.raw else pl.String).to_numpy()


def _series(values: Any, of: Input) -> pl.Series:
    if of.shape:
        return pl.Series(of.name, np.asarray(values))
    if of.raw:
        return pl.Series(of.name, list(values), dtype=pl.Binary)
    if not of.numeric:
        return pl.Series(of.name, text(values).tolist(), dtype=pl.String, strict=False)
    column = pl.Series(of.name, number(values, of))
    exact = column.cast(_POLARS[of.datatype], strict=False)
    # A half or a NaN in a column of whole numbers stays what it is.
    return exact if exact.cast(pl.Float64).eq_missing(column).all() else column
