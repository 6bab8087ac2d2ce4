"""The reading end of a run's log: frames to batches that can be delivered."""

import logging
from array import array
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from setpoint.runs.entities import Series
from setpoint.sdk.folders import Place
from setpoint.sdk.records import (
    CALL,
    NAME,
    POINT,
    POINTS,
    Record,
    read_name,
    read_record,
)
from setpoint.serve import frames

LARGEST = 1_500_000  #: bytes a batch, about; a server takes 4 MB at once
_POINT_BYTES = 24  #: on the wire
_log = logging.getLogger("setpoint")


class Batch(Struct, frozen=True, kw_only=True):
    """What lies between two places of one writer's log: points, or one other record."""

    end: Place
    series: list[Series]
    record: Record | None = None

    @property
    def points(self) -> int:
        return sum(len(series) for series in self.series)


class _Columns:
    def __init__(self) -> None:
        self.steps, self.at, self.values = array("q"), array("q"), array("d")

    def series(self, name: str) -> Series:
        return Series(
            name=name,
            steps=self.steps.tobytes(),
            at=self.at.tobytes(),
            values=self.values.tobytes(),
        )


class LogReader:
    """Reads one writer's log from a place on; goes on where it was as the log grows."""

    def __init__(self, folder: Path, after: Place) -> None:
        self._folder = folder
        self._at = after
        self._names: dict[int, str] | None = None

    def batches(self, until: Place | None = None) -> Iterator[Batch]:
        """Yield what was written since the last call, in its order.

        Args:
            until: Where the first batch must end at the latest: a batch that is sent again
                has to be the same one.
        """
        pending: dict[str, _Columns] = {}
        size, end = 0, self._at
        for place, payload in self._frames():
            points = payload[:1] == POINTS
            if size and (not points or size >= LARGEST or (until is not None and end >= until)):
                yield Batch(end=end, series=_series(pending))
                pending, size, until = {}, 0, None
            if points:
                size += _unpack(payload, self._names or {}, pending)
            elif (record := _record(payload)) is not None:
                yield Batch(end=place, series=[], record=record)
            end = place
        if size:
            yield Batch(end=end, series=_series(pending))

    def _frames(self) -> Iterator[tuple[Place, bytes]]:
        numbers = [n for n in frames.segments(self._folder) if n >= self._at.segment]
        for number in numbers:
            path = frames.segment_path(self._folder, number)
            if self._names is None or number != self._at.segment:
                offset = self._at.offset if number == self._at.segment else 0
                self._names = _names(path, offset)
                self._at = Place(number, offset)
            finished = number != numbers[-1]
            for offset, payload in frames.payloads(path, self._at.offset, finished=finished):
                self._at = Place(number, offset)
                if payload[:1] == NAME:
                    key, name = read_name(payload)
                    self._names[key] = name
                else:
                    yield self._at, payload


def _record(payload: bytes) -> Record | None:
    try:
        return read_record(payload)
    except msgspec.MsgspecError as error:
        _log.warning("setpoint: a record that another version wrote is left out: %s", error)
        return None


def _names(path: Path, until: int) -> dict[int, str]:
    """Return the names that a segment defines before an offset."""
    names: dict[int, str] = {}
    for offset, payload in frames.payloads(path, 0, finished=True) if until else ():
        if offset > until:
            break
        if payload[:1] == NAME:
            key, name = read_name(payload)
            names[key] = name
    return names


def _unpack(payload: bytes, names: dict[int, str], into: dict[str, _Columns]) -> int:
    """Add the points of one call to columns; return about how many bytes that adds."""
    at: int = CALL.unpack_from(payload)[1]
    size = 0
    for number, step, value in POINT.iter_unpack(memoryview(payload)[CALL.size :]):
        columns = into.get(names[number])
        if columns is None:
            columns = into[names[number]] = _Columns()
            size += 4 * len(names[number]) + _POINT_BYTES
        columns.steps.append(step)
        columns.at.append(at)
        columns.values.append(value)
        size += _POINT_BYTES
    return size


def _series(pending: dict[str, _Columns]) -> list[Series]:
    return [columns.series(name) for name, columns in pending.items()]
