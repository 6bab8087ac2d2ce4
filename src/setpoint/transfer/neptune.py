"""Neptune's runs as its exporter left them: Parquet files, and the downloaded files beside them.

The service is gone; what `neptune-exporter` wrote remains. One row is one value of an
attribute: `project_id`, `run_id`, `attribute_path`, `attribute_type`, `step` (decimal),
`timestamp`, and a column for each kind of value.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from setpoint.errors import Invalid, NotFound
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Status, Value
from setpoint.transfer.entities import Content, Left, SourceFile, SourceRun
from setpoint.transfer.files import made, read_in_pieces, under

_VALUES = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
}
_COLUMNS = {"project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp"}
_KNOWN = {*_VALUES, "float_series", "string_series", "histogram_series", "file", "file_series"}
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Neptune:
    """The folder ``exports``, or the one of its Parquet files with ``files`` beside it."""

    kind = "neptune"

    def __init__(self, where: str) -> None:
        self.where = where
        path = Path(where)
        data = path / "data" if (path / "data").is_dir() else path
        found = sorted(data.rglob("*.parquet"))
        if not found:
            raise NotFound(
                f"no Parquet files below {where}", hint="name the folder neptune-exporter wrote to"
            )
        self._files = path / "files" if data != path else data.parent / "files"
        self._rows = pl.scan_parquet(found, missing_columns="insert")
        names = self._rows.collect_schema().names()
        if missing := _COLUMNS - set(names):
            raise Invalid(
                f"{where} is not what neptune-exporter writes",
                where=f"no column {', '.join(sorted(missing))}",
            )
        self._finer = self._decimals()

    def runs(self) -> Sequence[SourceRun]:
        kinds = [kind for kind in _VALUES if _VALUES[kind] in self._rows.collect_schema().names()]
        single = self._rows.filter(pl.col("attribute_type").is_in(kinds)).collect()
        pairs = self._rows.select("project_id", "run_id").unique().sort("project_id", "run_id")
        held: dict[tuple[str, str], dict[str, Any]] = {pair: {} for pair in pairs.collect().rows()}
        for row in single.iter_rows(named=True):
            value = row[_VALUES[row["attribute_type"]]]
            held[row["project_id"], row["run_id"]][row["attribute_path"]] = value
        return [self._run(project, run, values) for (project, run), values in held.items()]

    def experiments(self) -> dict[str, dict[str, str]]:
        return {}

    def close(self) -> None:
        """Nothing stays open."""

    def left(self) -> list[Left]:
        return []

    def content(self, run: SourceRun) -> Content:
        project, _, name = run.id.rpartition(":")
        rows = (
            self._rows.filter(pl.col("project_id") == project, pl.col("run_id") == name)
            .filter(~pl.col("attribute_type").is_in(list(_VALUES)))
            .sort("attribute_path", "step", "timestamp")
            .collect()
        )
        strange = rows.filter(~pl.col("attribute_type").is_in(list(_KNOWN)))
        left = [
            Left(run=run.id, what=path, why=f"an attribute of type {kind}")
            for path, kind in strange.select("attribute_path", "attribute_type").unique().rows()
        ]
        return Content(series=self._series(rows), files=self._left_files(rows), left=left)

    def _run(self, project: str, run: str, values: dict[str, Any]) -> SourceRun:
        about = {k.removeprefix("sys/"): v for k, v in values.items() if k.startswith("sys/")}
        named = dict.fromkeys([*(about.get("tags") or ()), *(about.get("group_tags") or ())], "")
        told = {f"neptune.{k}": _text(v) for k, v in about.items() if v is not None}
        if self._finer > 1:
            told["neptune.steps"] = f"times {self._finer}"
        params = {k: _param(v) for k, v in values.items() if not k.startswith("sys/")}
        return SourceRun(
            id=f"{project}:{run}",
            experiment=project,
            name=str(about.get("name") or about.get("custom_run_id") or run),
            status=Status.FAILED if about.get("failed") else Status.FINISHED,
            started_at=about.get("creation_time") or _EPOCH,
            ended_at=about.get("modification_time"),
            deleted=bool(about.get("trashed")),
            actor=str(about.get("owner") or ""),
            params=params,
            tags={**told, **named},
        )

    def _series(self, rows: pl.DataFrame) -> Iterator[tuple[str, Columns]]:
        numbers = rows.filter(pl.col("attribute_type") == "float_series")
        for (path,), found in numbers.group_by("attribute_path", maintain_order=True):
            steps = (found["step"].cast(pl.Float64) * self._finer).round()
            at = found["timestamp"].cast(pl.Datetime("us", "UTC")).to_physical().fill_null(0)
            values = found["float_value"].cast(pl.Float64).fill_null(float("nan"))
            yield (
                str(path),
                Columns(
                    steps.fill_null(0).cast(pl.Int64).to_numpy(), at.to_numpy(), values.to_numpy()
                ),
            )

    def _left_files(self, rows: pl.DataFrame) -> Iterator[SourceFile]:
        for kind, column in (
            ("string_series", "string_value"),
            ("histogram_series", "histogram_value"),
        ):
            series = rows.filter(pl.col("attribute_type") == kind)
            for (path,), found in series.group_by("attribute_path", maintain_order=True):
                lines = [
                    json.dumps({"step": float(row["step"] or 0), "value": row[column]}, default=str)
                    for row in found.iter_rows(named=True)
                ]
                yield made(f"{path}.jsonl", "\n".join(lines).encode())
        files = rows.filter(pl.col("attribute_type").is_in(["file", "file_series"]))
        for row in files.iter_rows(named=True):
            step = f"/{row['step']}" if row["attribute_type"] == "file_series" else ""
            yield from self._downloaded(row["attribute_path"] + step, row["file_value"])

    def _downloaded(self, path: str, file: dict[str, str] | None) -> Iterator[SourceFile]:
        lies = self._files / str((file or {}).get("path"))
        inside = lies.resolve().is_relative_to(self._files.resolve())
        if inside and lies.is_dir():
            yield from under(lies, f"{path}/")
        else:
            missing = Path("nowhere") / path
            yield SourceFile(path=path, chunks=partial(read_in_pieces, lies if inside else missing))

    def _decimals(self) -> int:
        """Return what steps are multiplied with, so that the finest of them are whole."""
        steps = self._rows.select(pl.col("step").cast(pl.Float64).drop_nulls().unique())
        found = steps.collect()["step"].to_numpy()
        for finer in (1, 10, 100, 1_000, 10_000, 100_000):
            if np.allclose(found * finer, np.round(found * finer), rtol=0, atol=1e-6):
                return finer
        return 1_000_000


def _param(value: Any) -> Value:
    return value if isinstance(value, str | int | float | bool) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, list | dict) else str(value)
