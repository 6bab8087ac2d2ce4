"""What a version is asked before it serves, so that no request pays for what happens only once.

One row of zeros always; then, briefly, rows that its endpoint was asked lately, as the prediction
log has them, or where there are none some of the rows it was trained on. What it answers is
forgotten, and what it fails on is left to requests to show. How long it takes is kept: a slow
version does not hold up the event loop even once.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from setpoint.serve import frames
from setpoint.serve.arms import Arm
from setpoint.serve.endpoints import SLOW_MICROS
from setpoint.serve.entities import PredictionRecord, Record
from setpoint.serve.v2 import Rows

MOST_ROWS = 32  #: that a version is warmed by
_ALONE = 8  #: of those one by one, the rest in a call together
_TRIES = 2  #: more, of a version that seems slow
_SECONDS = 1.0  #: after which no other call is begun
_LONG_MICROS = 0.5e6  #: a call that takes longer is slow for sure, and is not made again
_RECORDS = 2_000  #: of the log that are looked at, from its end
_KNOWN_SECONDS = 5.0  #: for which what was read is used again: many models may be loaded in a row

_log = logging.getLogger(__name__)
_decode = msgspec.msgpack.Decoder(Record).decode


class Recent:
    """The latest requests in a prediction log, by model. For one thread at a time."""

    def __init__(self, folder: Path | None) -> None:
        """Read from a folder of segments; from none, nothing."""
        self._folder = folder
        self._known: dict[str, list[PredictionRecord]] = {}
        self._until = 0.0

    def of(self, model: str) -> list[PredictionRecord]:
        """Return the latest answered requests of a model, newest first, of a few rows at least."""
        if self._folder is None:
            return []
        if time.monotonic() > self._until:
            self._known = _by_model(self._folder)
            self._until = time.monotonic() + _KNOWN_SECONDS
        return self._known.get(model, [])


def warm(arm: Arm, recorded: list[PredictionRecord], background: Callable[[], Any]) -> None:
    """Have a version score what it was asked lately, or rows it was trained on.

    Args:
        arm: The version, before anything else was asked of it.
        recorded: Answered requests of its endpoint.
        background: Some rows as the version takes them, None where there are none.

    Raises:
        Exception: What the version raises on zeros: then it does not serve.
    """
    arm.pace = _pace(arm)
    if arm.pace > _LONG_MICROS:  # more calls would keep all that is loaded after it waiting
        return
    rows = None
    with suppress(Exception):  # they are a help and no more
        rows = _rows(arm, recorded)
        if rows is None:
            rows = background()
    if rows is None:
        return
    until = time.monotonic() + _SECONDS
    for given, alone in _calls(rows):
        if time.monotonic() > until:
            return
        try:
            took = _micros(partial(arm.predictor.predict, given))
        except Exception as error:  # noqa: BLE001 - a model is foreign code
            kind = type(error).__name__
            _log.warning("warming failed", extra={"version": arm.version, "kind": kind})
            return
        if alone:
            arm.pace = min(arm.pace, took)


def _pace(arm: Arm) -> float:
    """Return the microseconds that a row of zeros takes; the first time may be longer."""
    pace = _micros(arm.warm)
    for _ in range(_TRIES):
        if not SLOW_MICROS < pace <= _LONG_MICROS:
            break
        try:
            pace = min(pace, _micros(arm.warm))
        except Exception:  # noqa: BLE001 - a model is foreign code; requests show it
            return 0.0
    return pace


def _micros(call: Callable[[], Any]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1000


def _rows(arm: Arm, recorded: list[PredictionRecord]) -> Any:
    """Return recorded rows as a version takes them, None where no request has all its inputs."""
    found: list[Any] = []
    count = 0
    for record in recorded:
        if count >= MOST_ROWS:
            break
        given = _given(arm, record)
        if given is not None:
            found.append(given)
            count += len(record.ids)
    if not found:
        return None
    if isinstance(found[0], dict):
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    return np.concatenate(found)


def _given(arm: Arm, record: PredictionRecord) -> Any:
    if arm.takes_blobs:  # of images and tensors the log has digests
        return None
    numeric = [each.name for each in arm.inputs if each.datatype != "BYTES"]
    texts = [each.name for each in arm.inputs if each.datatype == "BYTES"]
    complete = set(numeric) <= set(record.columns) and set(texts) <= set(record.texts)
    if not complete or not set(arm.names).isdisjoint(record.redacted):
        return None
    matrix = np.frombuffer(record.values).reshape(len(record.ids), -1)
    values = np.ascontiguousarray(matrix[:, [record.columns.index(name) for name in numeric]])
    return arm.given(Rows(len(record.ids), values, {name: record.texts[name] for name in texts}))


def _calls(rows: Any) -> Iterator[tuple[Any, bool]]:
    """Yield some rows one by one, then all of them; and whether it is one."""
    several = isinstance(rows, dict)
    count = min(len(next(iter(rows.values()))) if several else len(rows), MOST_ROWS)

    def part(start: int, stop: int) -> Any:
        if several:
            return {name: values[start:stop] for name, values in rows.items()}
        return rows[start:stop]

    for at in range(min(count, _ALONE)):
        yield part(at, at + 1), True
    yield part(0, count), False


def _by_model(folder: Path) -> dict[str, list[PredictionRecord]]:
    found: dict[str, list[PredictionRecord]] = {}
    rows: dict[str, int] = {}
    for payload in frames.latest(folder, _RECORDS):
        record = _decode(payload)
        if not isinstance(record, PredictionRecord) or record.failed:
            continue
        if rows.get(record.model, 0) < MOST_ROWS:
            found.setdefault(record.model, []).append(record)
            rows[record.model] = rows.get(record.model, 0) + len(record.ids)
    return found
