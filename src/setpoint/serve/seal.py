"""Sealing: finished segments of the log become Parquet that anything can read.

``log/parquet/model=M/dt=YYYY-MM-DD/KIND-[WRITER-]SEGMENT.parquet``, where KIND is predictions,
shadows, counts or labels; one row a prediction. What there is not is null: a missing input, one
that is redacted, a score that nobody gave. Files differ in their columns, as versions do:
``pl.concat([pl.scan_parquet(file) for file in files], how="diagonal_relaxed")``.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from msgspec import Struct

from setpoint.core.clock import from_micros
from setpoint.errors import Unavailable
from setpoint.serve import frames
from setpoint.serve.entities import (
    BatchRecord,
    CountRecord,
    LabelRecord,
    Place,
    Position,
    PredictionRecord,
    ShadowRecord,
)
from setpoint.serve.log import read
from setpoint.serve.rules import ROLES
from setpoint.serve.writers import writers

PREFIX = "feature_"  #: of the columns that hold a prediction's inputs
GIVEN = "output_"  #: of those that hold what its model gave besides the score

_KINDS = {
    PredictionRecord: "predictions",
    BatchRecord: "predictions",
    ShadowRecord: "shadows",
    CountRecord: "counts",
    LabelRecord: "labels",
}
_AT = pl.Datetime("us", "UTC")


def seal(folder: Path, followed: Position | Place) -> list[Path]:
    """Turn every segment that is finished and wholly followed into Parquet, then delete it.

    Killed at any point, it does the same again the next time: files have the same names
    and appear whole, and a segment goes only after all of its files are on the disk.

    Args:
        folder: The log.
        followed: How far the controller has followed it; nothing after this is touched.

    Returns:
        The files written.

    Raises:
        Unavailable: If the disk is full; the segment stays.
    """
    if isinstance(followed, Position):
        followed = Place(followed.segment, followed.offset)
    found: list[Path] = []
    for writer in writers(folder):
        found += _seal(folder, writer, followed.of(writer).segment)
    return found


def _seal(folder: Path, writer: str, before: int) -> list[Path]:
    written: list[Path] = []
    for number in frames.segments(folder / writer)[:-1]:
        if number >= before:
            break
        try:
            written += _seal_one(folder, writer, number)
        except OSError as error:
            raise Unavailable(
                f"segment {number} of the prediction log cannot be sealed",
                where=f"{folder / writer}: {error.strerror}",
                hint="free disk space; nothing is lost",
            ) from None
    return written


class Gone(Struct, frozen=True, kw_only=True):
    """Files that were deleted."""

    files: int = 0
    bytes: int = 0


def expire(folder: Path, model: str, before: date) -> Gone:
    """Delete the sealed files of a model's days before `before`; return how much that was."""
    count = size = 0
    for day in sorted((folder / "parquet" / f"model={quote(model, safe='')}").glob("dt=*")):
        if day.name.removeprefix("dt=") < before.isoformat():
            for file in sorted(day.iterdir()):
                count, size = count + 1, size + file.stat().st_size
                file.unlink()
            day.rmdir()
    return Gone(files=count, bytes=size)


def _seal_one(folder: Path, writer: str, number: int) -> list[Path]:
    groups: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
    for position, record in read(folder / writer, Position(number, 0)):
        if position.segment != number:
            break
        day = from_micros(record.at_us).date().isoformat()
        groups[_KINDS[type(record)], record.model, day].append(record)
    written = []
    for (kind, model, day), records in sorted(groups.items()):
        into = folder / "parquet" / f"model={quote(model, safe='')}" / f"dt={day}"
        into.mkdir(parents=True, exist_ok=True)
        name = f"{kind}-{writer}-{number:08d}" if writer else f"{kind}-{number:08d}"
        path = into / f"{name}.parquet"
        _write(_table(records), path)
        written.append(path)
    frames.segment_path(folder / writer, number).unlink()
    frames.sync_folder(folder / writer)
    return written


def _table(records: Sequence[Any]) -> pl.DataFrame:
    """Return a row for each prediction or label of records of one kind, or for each count."""
    if isinstance(records[0], CountRecord):
        return _counts(records)
    alike: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    for record in records:  # an endpoint's columns change with its version
        alike[() if isinstance(record, LabelRecord) else _features(record)].append(record)
    return pl.concat([_alike(some) for some in alike.values()], how="diagonal_relaxed")


def _features(record: Any) -> tuple[str, ...]:
    """Return what tells which columns a record has, nothing for those of a shadow."""
    if not isinstance(record, PredictionRecord):
        return ()
    numbers = [
        f"{name} {len(each) // len(record.ids)}" for name, each in record.given_numbers.items()
    ]
    return (*record.columns, "", *record.texts, "", *numbers, "", *record.given_texts)


def _alike(records: Sequence[Any]) -> pl.DataFrame:
    """Return the rows of records with the same columns, all put together at once."""
    first, counts = records[0], [len(record.ids) for record in records]

    def each(name: str, kind: Any) -> pl.Series:
        """Return what a record says once, for each of its rows."""
        values = [getattr(record, name) for record in records]
        rows = np.repeat(np.arange(len(records)), counts)
        return pl.Series(values, dtype=kind).gather(rows)

    def rows(name: str, kind: Any) -> pl.Series:
        """Return what a record says of each row."""
        lists = (getattr(record, name) for record in records)
        return pl.Series(list(chain.from_iterable(lists)), dtype=kind)

    columns = {"id": rows("ids", pl.String), "at": each("at_us", pl.Int64).cast(_AT)}
    if isinstance(first, LabelRecord):
        return pl.DataFrame(columns | {"label": rows("labels", pl.Float64)})
    columns |= {
        "request_id": each("request_id", pl.String),
        "version": rows("versions", pl.Int32),
        "score": _scores(records),
        "status": each("status", pl.Int16),
    }
    if isinstance(first, PredictionRecord):
        roles = np.frombuffer(b"".join(record.roles for record in records), np.uint8)
        columns |= {
            "role": pl.Series([role.value for role in ROLES]).gather(roles),
            "micros": each("micros", pl.Int32),
            "fallback": each("fallback", pl.Boolean),
            "failed": each("failed", pl.Int32),
            "arm": each("arm", pl.String),
            "nodes": _nodes(records, counts),
            "weight": _weights(records, counts),
            "redacted": each("redacted", pl.List(pl.String)),
        }
        values = np.frombuffer(b"".join(record.values for record in records))
        matrix = values.reshape(sum(counts), len(first.columns))
        for i, name in enumerate(first.columns):
            columns[PREFIX + name] = pl.Series(matrix[:, i], nan_to_null=True)
        for name in first.texts:
            texts = chain.from_iterable(record.texts[name] for record in records)
            columns[PREFIX + name] = pl.Series(list(texts), dtype=pl.String)
        columns |= _given(records, sum(counts))
    return pl.DataFrame(columns)


def _given(records: Sequence[PredictionRecord], count: int) -> dict[str, pl.Series]:
    """Return what models gave besides scores, a column each; several numbers a row are lists."""
    columns: dict[str, pl.Series] = {}
    for name in records[0].given_numbers:
        numbers = np.frombuffer(b"".join(record.given_numbers[name] for record in records))
        wide = len(numbers) != count
        rows = numbers.reshape(count, -1) if wide else numbers
        columns[GIVEN + name] = pl.Series(rows, dtype=pl.List(pl.Float64) if wide else None)
    for name in records[0].given_texts:
        texts = chain.from_iterable(record.given_texts[name] for record in records)
        columns[GIVEN + name] = pl.Series(list(texts), dtype=pl.String)
    return columns


def _counts(records: Sequence[CountRecord]) -> pl.DataFrame:
    """Return what was counted and not logged row by row."""
    table = pl.DataFrame(
        [
            (r.at_us, r.version, ROLES[r.role].value, r.shadow, r.requests, r.rows, r.failed,
             r.slow, r.bound)
            for r in records
        ],
        schema={
            "at": pl.Int64, "version": pl.Int32, "role": pl.String, "shadow": pl.Boolean,
            "requests": pl.Int64,
            "rows": pl.Int64, "failed": pl.Int64, "slow": pl.Int64, "bound": pl.Int64,
        },
        orient="row",
    )  # fmt: skip
    return table.with_columns(pl.col("at").cast(_AT))


def _weights(records: Sequence[PredictionRecord], counts: list[int]) -> pl.Series:
    """Return for how many rows each stands: summed up they estimate what was answered."""
    weights = [1.0 if record.failed else 1 / record.sample for record in records]
    return pl.Series(np.repeat(np.array(weights), counts))


def _nodes(records: Sequence[PredictionRecord], counts: list[int]) -> pl.Series:
    """Return what of a graph answered each row, as JSON; null where it was none."""
    said: list[str | None] = []
    for record, count in zip(records, counts, strict=True):
        nodes: Sequence[str | None] = record.nodes or [None]
        said += nodes if len(nodes) == count else [nodes[0]] * count
    return pl.Series(said, dtype=pl.String)


def _scores(records: Sequence[PredictionRecord | ShadowRecord]) -> pl.Series:
    """Return the score of each row; null where nobody answered, or by null."""
    none = np.array([np.nan]).tobytes()
    said = b"".join(record.scores or none * len(record.ids) for record in records)
    return pl.Series(np.frombuffer(said), nan_to_null=True)


def _write(table: pl.DataFrame, path: Path) -> None:
    aside = path.with_suffix(".new")
    try:
        with aside.open("wb") as file:
            table.write_parquet(file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    frames.sync_folder(path.parent)
