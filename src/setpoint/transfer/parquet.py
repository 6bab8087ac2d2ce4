"""Runs as Parquet: ``runs``, ``values`` (params and tags), ``points``, and files by run.

One part of each for every so many points, whole or not there: a part is written aside and
renamed, and a run is known to be whole by being in a part of ``runs``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from setpoint.errors import Invalid, Unavailable
from setpoint.runs.columns import arrays
from setpoint.runs.entities import Run
from setpoint.transfer.entities import Left
from setpoint.transfer.exporter import Held
from setpoint.transfer.values import text

_POINTS = 2_000_000  #: in one part
_RUNS = 1_000


def _schema(columns: dict[str, Any]) -> pl.Schema:
    return pl.Schema(columns)


_TIME = pl.Datetime("us", "UTC")
_RUN = _schema(
    {
        "run": pl.String,
        "experiment": pl.String,
        "name": pl.String,
        "status": pl.String,
        "parent": pl.String,
        "actor": pl.String,
        "started_at": _TIME,
        "ended_at": _TIME,
        "error": pl.String,
    }
)
_VALUE = _schema({"run": pl.String, "kind": pl.String, "name": pl.String, "value": pl.String})


class ParquetFolder:
    """A folder that runs are added to."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._folder = Path(where)
        if self._folder.is_file():
            raise Invalid(f"{where} is a file", hint="name a folder")
        self._known: set[str] = set()
        for part in self._folder.glob("runs/*.parquet"):
            self._known.update(pl.read_parquet(part, columns=["run"])["run"])
        self._parts = len(list(self._folder.glob("runs/*.parquet")))
        self._clear()

    def has(self, run: Run) -> bool:
        return run.id in self._known

    def put(self, held: Held) -> tuple[int, int, int, list[Left]]:
        run = held.run
        about = {name: getattr(run, name) for name in _RUN if name != "run"}
        self._runs.append({**about, "run": run.id, "status": str(run.status)})
        pairs: list[tuple[str, Mapping[str, Any]]] = [("param", run.params), ("tag", run.tags)]
        for kind, named in pairs:
            self._values += [
                {"run": run.id, "kind": kind, "name": name, "value": text(value)}
                for name, value in named.items()
            ]
        points = 0
        for series in held.series():
            steps, at, values = arrays(series)
            points += len(values)
            columns = {"step": steps, "at": pl.Series(at).cast(_TIME)}
            frame = pl.DataFrame({**columns, "value": values})
            whose = (pl.lit(run.id).alias("run"), pl.lit(series.name).alias("name"))
            self._points.append(frame.select(*whose, "step", "at", "value"))
        files, size = self._files(held)
        self._waiting += points
        if self._waiting >= _POINTS or len(self._runs) >= _RUNS:
            self.close()
        return points, files, size, []

    def close(self) -> None:
        """Write the part that is open: its runs last, because they say that it is whole."""
        if not self._runs:
            return
        self._parts += 1
        points = pl.concat(self._points) if self._points else None
        if points is not None:
            self._write("points", points)
        self._write("values", pl.DataFrame(self._values, schema=_VALUE))
        self._write("runs", pl.DataFrame(self._runs, schema=_RUN))
        self._clear()

    def _files(self, held: Held) -> tuple[int, int]:
        top = self._folder / "files" / held.run.id.replace(":", "_")
        found = held.files()
        for path, file in found.items():
            to = top / path
            if not to.resolve().is_relative_to(top.resolve()):
                raise Invalid(f"{path!r} would lie outside of {top}")
            to.parent.mkdir(parents=True, exist_ok=True)
            with to.open("wb") as opened:
                for piece in held.chunks(file):
                    opened.write(piece)
        return len(found), sum(file.size for file in found.values())

    def _write(self, what: str, frame: pl.DataFrame) -> None:
        to = self._folder / what / f"part-{self._parts:05d}.parquet"
        aside = to.with_suffix(".new")
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(aside, compression="zstd")
            aside.rename(to)
        except OSError as error:
            raise Unavailable(f"{to} cannot be written", where=str(error)) from None

    def _clear(self) -> None:
        self._runs: list[dict[str, Any]] = []
        self._values: list[dict[str, str]] = []
        self._points: list[pl.DataFrame] = []
        self._waiting = 0
