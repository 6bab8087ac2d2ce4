"""The inputs of one prediction, from wherever in the log they are: a segment, or Parquet."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np
from msgspec import Struct

from setpoint.core.clock import to_micros
from setpoint.errors import Conflict, NotFound
from setpoint.serve import frames
from setpoint.serve.entities import Prediction, PredictionRecord, Record

#: The inputs of a row by name; numbers, where missing NaN, and texts.
Inputs = dict[str, float | str | None]


class Logged(Struct, frozen=True, kw_only=True):
    """What the log has of one prediction."""

    inputs: Inputs
    nodes: dict[str, str] = {}  #: of a graph: those that answered it, with their versions


_decode = msgspec.msgpack.Decoder(Record).decode


def of(folder: Path, prediction: Prediction) -> Logged:
    """Return what a prediction was answered for, and by; sealed, with others' inputs as missing.

    Reads the segments that are not sealed yet, then the sealed files of its day: 16 MB take some
    10 ms.

    Args:
        folder: The log.
        prediction: As the index has it.

    Raises:
        NotFound: If the log has it no more, or not here.
        Conflict: If some of them were never to be written down.
    """
    found = _in_segments(folder, prediction) or _in_parquet(folder, prediction)
    if found is None:
        raise NotFound(
            f"the inputs of prediction {prediction.id!r} are not in the log",
            where=str(folder),
            hint="they are deleted after serve.log.keep; a log is on the machine that answered",
        )
    return found


def _in_segments(folder: Path, wanted: Prediction) -> Logged | None:
    numbers = frames.segments(folder)
    name, at_us = wanted.id.encode(), to_micros(wanted.at)
    for number in reversed(numbers):
        path = frames.segment_path(folder, number)
        for _, payload in frames.payloads(path, frames.START, finished=number != numbers[-1]):
            if name not in payload:
                continue
            record = _decode(payload)
            if not isinstance(record, PredictionRecord) or not record.scores:
                continue
            if record.model == wanted.model and record.at_us == at_us and wanted.id in record.ids:
                found = _row(record, record.ids.index(wanted.id))
                return _whole(wanted, found, record.redacted)
    return None


def _whole(wanted: Prediction, found: Logged, redacted: Sequence[str]) -> Logged:
    """Return what was found, unless inputs are not in it; outputs may be missing."""
    missing = [name for name in redacted if name in found.inputs]
    if missing:
        raise Conflict(
            f"prediction {wanted.id!r} was logged without {', '.join(missing)}",
            hint="personal inputs are redacted: ask again with the whole row, to explain that",
        )
    return found


def _row(record: PredictionRecord, at: int) -> Logged:
    values = np.frombuffer(record.values).reshape(len(record.ids), len(record.columns))
    found: Inputs = dict(zip(record.columns, values[at].tolist(), strict=True))
    inputs = found | {column: texts[at] for column, texts in record.texts.items()}
    told = record.nodes[at if len(record.nodes) > 1 else 0] if record.nodes else None
    return Logged(inputs=inputs, nodes=_nodes(told))


def _nodes(told: str | None) -> dict[str, str]:
    return msgspec.json.decode(told, type=dict[str, str]) if told else {}


def _in_parquet(folder: Path, wanted: Prediction) -> Logged | None:
    import polars as pl  # noqa: PLC0415 - only where it is sealed

    from setpoint.serve.seal import PREFIX  # noqa: PLC0415 - Polars, as above

    day = wanted.at.date().isoformat()
    sealed = folder / "parquet" / f"model={quote(wanted.model, safe='')}" / f"dt={day}"
    answered = pl.col("score").is_not_null() | (pl.col("status") == 0)  # maybe by null
    mine = (pl.col("id") == wanted.id) & (pl.col("at") == wanted.at) & answered
    for path in sorted(sealed.glob("predictions-*.parquet")):
        found = pl.scan_parquet(path).filter(mine).head(1).collect()
        if found.height:
            row = found.row(0, named=True)
            inputs = {
                name.removeprefix(PREFIX): float("nan")
                if value is None and found.schema[name].is_numeric()
                else value
                for name, value in row.items()
                if name.startswith(PREFIX)
            }
            logged = Logged(inputs=inputs, nodes=_nodes(row.get("nodes")))
            return _whole(wanted, logged, row.get("redacted") or ())
    return None
