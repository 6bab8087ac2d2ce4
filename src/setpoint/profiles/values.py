"""Columns as they come (lists, numpy arrays, polars Series) to arrays that can be counted.

What is no value of its column's kind is counted, never raised: bad rows are facts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NONE = type(None)
_NUMBERS = frozenset({float, int, bool})
_EMPTY: Floats = np.empty(0)


class Numbers(NamedTuple):
    """The readable part of a numeric column."""

    values: Floats  #: as many as could be read; NaN and infinities included
    nulls: int  #: rows without a value
    invalid: int  #: rows whose value is no number


class Categories(NamedTuple):
    """The distinct values of a categorical column, counted."""

    counts: Mapping[str, int]
    nulls: int
    invalid: int


def columns_of(frame: Any) -> tuple[dict[str, Any], int]:
    """Return the columns of a polars DataFrame or a mapping by name, and how many rows.

    Raises:
        Invalid: If the columns differ in length.
    """
    if isinstance(frame, Mapping):
        columns = dict(frame)
    else:
        columns = {name: frame[name] for name in frame.columns}
    lengths = {name: len(values) for name, values in columns.items()}
    sizes = set(lengths.values())
    if len(sizes) > 1:
        raise Invalid(
            "the columns of one batch differ in length",
            where=", ".join(f"{name}: {size}" for name, size in list(lengths.items())[:8]),
            hint="give every column one value a row; use null where there is none",
        )
    return columns, sizes.pop() if sizes else 0


def is_numeric(values: Any) -> bool:
    """Tell whether a reference column is numeric: numbers, booleans and times are."""
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return values.dtype.kind in "fiubMm"
    if hasattr(values, "null_count"):
        kind = values.dtype
        return bool(kind.is_numeric() or kind.is_temporal() or str(kind) in {"Boolean", "Null"})
    return all(_number(value) is not None for value in values if value is not None)


def numbers(values: Any) -> Numbers:
    """Read a numeric column. Times become microseconds since 1970, booleans 0 and 1."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return Numbers(values.astype(np.float64, copy=False), 0, 0)
    if isinstance(values, np.ndarray):
        return _numbers_of_array(values)
    if hasattr(values, "null_count"):
        return _numbers_of_series(values)
    types = set(map(type, values))
    if types <= _NUMBERS and int not in types:
        return Numbers(np.array(values, dtype=np.float64), 0, 0)
    return _mixed(values)


def categories(values: Any) -> Categories:
    """Count the distinct values of a categorical column; bytes are read as UTF-8."""
    if hasattr(values, "value_counts") and hasattr(values, "null_count"):
        table = values.value_counts()
        first, second = table.columns
        counts: Mapping[Any, int] = dict(
            zip(table[first].to_list(), table[second].to_list(), strict=True)
        )
    else:
        counts = _count(values.tolist() if isinstance(values, np.ndarray) else values)
    texts: dict[str, int] = {}
    nulls = invalid = 0
    for value, count in counts.items():
        if isinstance(value, str):
            texts[value] = texts.get(value, 0) + count
        elif value is None or value != value:  # noqa: PLR0124  NaN stands for a null here
            nulls += count
        elif isinstance(value, bytes):
            text = value.decode("utf-8", "replace")
            texts[text] = texts.get(text, 0) + count
        elif isinstance(value, (bool, int)):
            texts[str(value)] = texts.get(str(value), 0) + count
        else:
            invalid += count
    return Categories(texts, nulls, invalid)


def _count(values: Iterable[Any]) -> Mapping[Any, int]:
    try:
        return Counter(values)
    except TypeError:  # lists and dicts among the values: no category is one
        return Counter(v if isinstance(v, (str, bytes, int, float, _NONE)) else ... for v in values)


def _numbers_of_array(values: NDArray[Any]) -> Numbers:
    kind = values.dtype.kind
    if kind in "iub":
        return Numbers(values.astype(np.float64), 0, 0)
    if kind in "Mm":
        present = values[~np.isnat(values)]
        micros = present.astype(f"{'datetime64' if kind == 'M' else 'timedelta64'}[us]")
        return Numbers(micros.astype(np.int64).astype(np.float64), len(values) - len(present), 0)
    if kind == "O":
        return _mixed(values.tolist())
    return Numbers(_EMPTY, 0, len(values))


def _numbers_of_series(series: Any) -> Numbers:
    nulls = int(series.null_count())
    kind = series.dtype
    if nulls:
        series = series.drop_nulls()
    if kind.is_temporal():
        series = _micros(series)
    elif kind.is_decimal():
        return _mixed(series.to_list())._replace(nulls=nulls)
    elif not (kind.is_numeric() or str(kind) == "Boolean"):
        return Numbers(_EMPTY, nulls, len(series))
    return Numbers(series.to_numpy().astype(np.float64, copy=False), nulls, 0)


def _micros(series: Any) -> Any:
    """Return a polars time column as integers, the same whatever unit it was kept in."""
    kind = str(series.dtype)
    if kind.startswith("Datetime"):
        return series.dt.epoch("us")
    if kind.startswith("Duration"):
        return series.dt.total_microseconds()
    return series.to_physical()


def _mixed(values: Iterable[Any]) -> Numbers:
    found: list[float] = []
    nulls = invalid = 0
    for value in values:
        if value is None:
            nulls += 1
        elif (number := _number(value)) is None:
            invalid += 1
        else:
            found.append(number)
    return Numbers(np.array(found, dtype=np.float64), nulls, invalid)


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float, Decimal, np.number, np.bool_)):
        try:
            return float(value)
        except (OverflowError, TypeError):
            return None
    return None
