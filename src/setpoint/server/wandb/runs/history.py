"""Rows of the client's history as points, and points as rows.

A number in a row is a point: step is the row's ``_step``, time its ``_timestamp``. What is no
number (tables, images, text, nested values, integers too large for a float) is kept beside
the points, by step, as it came. Both together are the row again.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.runs.columns import Columns, Gathered, series
from setpoint.runs.dotted import dotted
from setpoint.runs.entities import Series

SYSTEM = "system/"  #: how names of the machine's metrics begin
#: The client's clock, which every row has: kept beside the machine's metrics, not among a run's.
RUNTIME = f"{SYSTEM}_runtime"
_CLIENTS_SYSTEM = "system."
_EXACT = 2**53  #: integers up to here are exact as floats
_MICROS = 1_000_000

Row = dict[str, Any]


class Batch(Struct, frozen=True):
    """What some rows of history say."""

    series: list[Series]
    rest: dict[int, Row]  #: by step: what is no number
    last_step: int  #: -1 where there is no row


def read(lines: Sequence[str], offset: int, now: int) -> Batch:
    """Read rows of history.

    Args:
        lines: One JSON object each.
        offset: The number of the first line; the step of a row that names none.
        now: The time of a row that names none, in microseconds.

    Raises:
        Invalid: If a line is no JSON object.
    """
    points = _Points()
    rest: dict[int, Row] = {}
    last = -1
    for index, row in enumerate(_rows(lines, offset)):
        step = int(row.pop("_step", offset + index))
        at = _micros(row.pop("_timestamp", None), now)
        last = max(last, step)
        if "_runtime" in row:
            row[RUNTIME] = row.pop("_runtime")
        kept = {key: value for key, value in row.items() if not points.take(key, value, step, at)}
        if kept:
            rest.setdefault(step, {}).update(kept)
    return Batch(points.series(), rest, last)


def read_events(lines: Sequence[str], offset: int, now: int) -> list[Series]:
    """Read rows about the machine; a row's number is its step."""
    points = _Points()
    for index, row in enumerate(_rows(lines, offset)):
        at = _micros(row.get("_timestamp"), now)
        for key, value in row.items():
            if key.startswith(_CLIENTS_SYSTEM):
                name = SYSTEM + key.removeprefix(_CLIENTS_SYSTEM)
                points.take(name, value, offset + index, at)
    return points.series()


def rows(curves: Mapping[str, Columns], rest: Mapping[int, Row]) -> list[Row]:
    """Return the rows of points and of what stands beside them, by step."""
    found: dict[int, Row] = {}
    for name, columns in curves.items():
        for step, at, value in zip(*(column.tolist() for column in columns), strict=True):
            row = found.setdefault(step, {"_step": step, "_timestamp": 0.0})
            row[name] = _number(value)
            row["_timestamp"] = max(row["_timestamp"], at / _MICROS)
    for step, kept in rest.items():
        row = found.setdefault(step, {"_step": step})
        for key, value in kept.items():
            if isinstance(value, dict):
                for name in [name for name in row if name.startswith(f"{key}.")]:
                    del row[name]
            row[key] = value
    return [found[step] for step in sorted(found)]


def event_rows(curves: Mapping[str, Columns], started: float) -> list[Row]:
    """Return rows about the machine, as the client sent them, of a run begun at that second."""
    named = {_CLIENTS_SYSTEM + k.removeprefix(SYSTEM): curve for k, curve in curves.items()}
    found = []
    for row in rows(named, {}):
        del row["_step"]
        found.append({"_wandb": True, "_runtime": row["_timestamp"] - started, **row})
    return found


def flat(row: Row) -> Row:
    """Return a row with nested values under dotted names, as queries name them."""
    return dict(_leaves("", row))


def leaves(value: Row) -> dict[str, str | int | float | bool | None]:
    """Return scalars by dotted name; lists and media as JSON text."""
    return {name: _scalar(found) for name, found in _leaves("", value)}


def dumps(value: Any) -> str:
    """Return JSON as the client writes and reads it: NaN and infinities are numbers."""
    return json.dumps(value, separators=(",", ":"))


class _Points:
    """Collects points by name."""

    def __init__(self) -> None:
        self._found = Gathered()

    def take(self, key: str, value: Any, step: int, at: int) -> bool:
        """Take the numbers of a value; tell whether that is all there is to it."""
        if isinstance(value, dict):
            if "_type" not in value:
                for name, leaf in _leaves(f"{key}.", value):
                    self._add(name, leaf, step, at)
            return False
        return self._add(key, value, step, at) and not isinstance(value, bool)

    def _add(self, name: str, value: Any, step: int, at: int) -> bool:
        if not isinstance(value, int | float):
            return False
        try:
            number = float(value)
        except OverflowError:
            return False
        self._found.add(name, number, step, at)
        return isinstance(value, float) or abs(value) <= _EXACT

    def series(self) -> list[Series]:
        """Return what was collected."""
        return [series(name, columns) for name, columns in self._found.columns()]


def _rows(lines: Iterable[str], offset: int) -> Iterator[Row]:
    for index, line in enumerate(lines):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise Invalid(f"row {offset + index} of the history is no JSON object")
        row.pop("_wandb", None)
        yield row


def _leaves(prefix: str, value: Row) -> Iterator[tuple[str, Any]]:
    return dotted(value, prefix, whole=lambda found: "_type" in found)


def _scalar(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # as a parameter it is text: JSON has no such number
    return value if value is None or isinstance(value, str | int | float) else dumps(value)


def _micros(timestamp: Any, now: int) -> int:
    if isinstance(timestamp, int | float) and math.isfinite(timestamp):
        return round(timestamp * _MICROS)
    return now


def _number(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) <= _EXACT else value
