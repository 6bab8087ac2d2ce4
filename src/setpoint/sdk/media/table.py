"""Tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from setpoint.errors import Invalid
from setpoint.sdk.media.base import Drawn

_ROWS = 10_000  #: that are kept; a larger table is a dataset or an artifact
_SHOWN = 50  #: rows inside the manifest, for a page to show at once


class Table:
    """A table: a frame of Polars or pandas, columns by name, or rows with `columns`.

    The first 10,000 rows are kept.
    """

    def __init__(self, data: Any, *, columns: Sequence[str] | None = None) -> None:
        self._data = data
        self._columns = columns

    def drawn(self) -> Drawn:
        frame = _frame(self._data, self._columns)
        kept = frame.head(_ROWS)
        columns = [{"name": name, "type": str(kind)} for name, kind in frame.schema.items()]
        content = msgspec.json.encode(
            {"columns": columns, "data": [_plain(kept[name]) for name in kept.columns]},
            enc_hook=str,
        )
        shown = [_plain(kept[name].head(_SHOWN)) for name in kept.columns]
        fields = {"columns": columns, "rows": frame.height, "kept": kept.height, "data": shown}
        return Drawn(type="table", fields=fields, suffix=".json", content=content)


def _frame(data: Any, columns: Sequence[str] | None) -> pl.DataFrame:
    try:
        if isinstance(data, pl.DataFrame):
            return data
        if hasattr(data, "to_dict") and hasattr(data, "columns"):  # of pandas
            names = [str(name) for name in data.columns]
            values = [data.iloc[:, i].tolist() for i in range(len(names))]
            return _of(dict(zip(names, values, strict=True)))
        if isinstance(data, Mapping):
            return _of({str(name): list(values) for name, values in data.items()})
        rows = [list(row) for row in data]
        if columns is None:
            raise Invalid("a table of rows needs its columns", hint="sp.Table(rows, columns=[…])")
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
        return _of(dict(zip(columns, values, strict=True)))
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise Invalid(f"this is no table: {error}", hint="columns of the same length") from None


def _of(columns: Mapping[str, list[Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        {name: pl.Series(name, values, strict=False) for name, values in columns.items()}
    )


def _plain(column: pl.Series) -> list[Any]:
    """Return values as JSON has them: NaN and infinities as words, times as ISO 8601."""
    if column.dtype.is_float():
        return [value if value is None or value - value == 0 else str(value) for value in column]
    if column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.String, pl.Null}:
        return column.to_list()
    return [None if value is None else str(value) for value in column]
