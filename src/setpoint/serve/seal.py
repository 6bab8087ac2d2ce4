"""Sealing: finished segments of the log become Parquet that anything can read.

``log/parquet/model=M/dt=YYYY-MM-DD/{predictions,shadows,labels}-SEGMENT.parquet``, one row a
prediction: ``pl.scan_parquet("log/parquet/**/predictions-*.parquet",
hive_partitioning=True, missing_columns="insert", extra_columns="ignore")``.
"""

import os
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from msgspec import Struct

from setpoint.core.clock import from_micros
from setpoint.errors import Unavailable
from setpoint.serve import frames
from setpoint.serve.entities import LabelRecord, Position, PredictionRecord, Record, ShadowRecord
from setpoint.serve.log import read
from setpoint.serve.rules import ROLES

PREFIX = "feature_"  #: of the columns that hold a prediction's inputs

_KINDS = {PredictionRecord: "predictions", ShadowRecord: "shadows", LabelRecord: "labels"}
_AT = pl.Datetime("us", "UTC")


def seal(folder: Path, followed: Position) -> list[Path]:
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
    written: list[Path] = []
    for number in frames.segments(folder)[:-1]:
        if number >= followed.segment:
            break
        try:
            written += _seal_one(folder, number)
        except OSError as error:
            raise Unavailable(
                f"segment {number} of the prediction log cannot be sealed",
                where=f"{folder}: {error.strerror}",
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


def _seal_one(folder: Path, number: int) -> list[Path]:
    groups: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
    for position, record in read(folder, Position(number, 0)):
        if position.segment != number:
            break
        day = from_micros(record.at_us).date().isoformat()
        groups[_KINDS[type(record)], record.model, day].append(record)
    written = []
    for (kind, model, day), records in sorted(groups.items()):
        into = folder / "parquet" / f"model={quote(model, safe='')}" / f"dt={day}"
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"{kind}-{number:08d}.parquet"
        table = pl.concat([_table(record) for record in records], how="diagonal_relaxed")
        _write(table, path)
        written.append(path)
    frames.segment_path(folder, number).unlink()
    frames.sync_folder(folder)
    return written


def _table(record: Record) -> pl.DataFrame:
    count = len(record.ids)
    columns: dict[str, Any] = {
        "id": record.ids,
        "at": pl.Series([record.at_us] * count, dtype=pl.Int64).cast(_AT),
    }
    if isinstance(record, LabelRecord):
        columns["label"] = pl.Series(record.labels, dtype=pl.Float64)
        return pl.DataFrame(columns)
    columns["request_id"] = [record.request_id] * count
    columns["version"] = pl.Series(record.versions, dtype=pl.Int32)
    scores = np.frombuffer(record.scores) if record.scores else [None] * count
    columns["score"] = pl.Series(scores, dtype=pl.Float64)
    columns["status"] = pl.Series([record.status] * count, dtype=pl.Int16)
    if isinstance(record, PredictionRecord):
        columns["role"] = [ROLES[role].value for role in record.roles]
        columns["micros"] = pl.Series([record.micros] * count, dtype=pl.Int32)
        columns["fallback"] = [record.fallback] * count
        columns["failed"] = pl.Series([record.failed] * count, dtype=pl.Int32)
        values = np.frombuffer(record.values).reshape(count, len(record.columns))
        for i, name in enumerate(record.columns):
            columns[PREFIX + name] = values[:, i]
        for name, texts in record.texts.items():
            columns[PREFIX + name] = pl.Series(texts, dtype=pl.String)
    return pl.DataFrame(columns)


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
