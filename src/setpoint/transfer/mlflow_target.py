"""Runs for a server that speaks MLflow's REST API."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from setpoint.core.clock import to_micros
from setpoint.errors import NotFound
from setpoint.runs.columns import arrays
from setpoint.runs.entities import Run, Series, Status
from setpoint.transfer.entities import Left
from setpoint.transfer.exporter import Held
from setpoint.transfer.mlflow import NAME, PARENT, USER, Login
from setpoint.transfer.mlflow_http import FILES, Api
from setpoint.transfer.values import text

PROXIED = "mlflow-artifacts:"  #: how URIs begin of files that the server gives out itself
RUN = "setpoint.run"  #: the tag that names our run
WHOLE = "setpoint.whole"  #: the tag of a run that was written to its end

# What MLflow takes in one request, and of one value.
_METRICS, _PARAMS, _TAGS = 1_000, 100, 100
_PARAM_LENGTH, _TAG_LENGTH = 6_000, 8_000
_STATUS = {
    Status.RUNNING: "RUNNING",
    Status.SCHEDULED: "SCHEDULED",
    Status.FINISHED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.KILLED: "KILLED",
}


class MlflowTarget:
    """Writes runs by REST. One that was cut off is deleted and written again."""

    def __init__(self, where: str, login: Login) -> None:
        self.where = where
        self.api = Api(where, login)
        self._experiments: dict[str, str] = {}
        self._ids: dict[str, str] = {}  #: of runs there, by ours

    def has(self, run: Run) -> bool:
        found = self.api.ask(
            "runs/search",
            {
                "experiment_ids": [self._experiment(run.experiment)],
                "filter": f"tags.`{RUN}` = '{run.id}'",
            },
        )
        for each in found.get("runs", []):
            tags = {tag["key"]: tag["value"] for tag in each["data"].get("tags", [])}
            if WHOLE in tags:
                self._ids[run.id] = each["info"]["run_id"]
                return True
            self.api.ask("runs/delete", {"run_id": each["info"]["run_id"]})
        return False

    def put(self, held: Held) -> tuple[int, int, int, list[Left]]:
        run, left = held.run, list[Left]()
        tags = {**run.tags, RUN: run.id, NAME: run.name}
        if run.actor:
            tags.setdefault(USER, run.actor)
        if run.parent in self._ids:
            tags[PARENT] = self._ids[run.parent or ""]
        made = self.api.ask(
            "runs/create",
            {
                "experiment_id": self._experiment(run.experiment),
                "run_name": run.name or run.id,
                "start_time": _millis(run.started_at),
                "tags": [{"key": RUN, "value": run.id}],
            },
        )["run"]["info"]
        there = made["run_id"]
        self._values(there, run, tags, left)
        points = sum(self._points(there, series) for series in held.series())
        files, size = self._files(held, made["artifact_uri"], left)
        self._end(there, run)
        self._ids[run.id] = there
        return points, files, size, left

    def upload(self, uri: str, path: str, chunks: Iterator[bytes], size: int) -> None:
        """Write a file below a place that the server gives out itself."""
        root = urlsplit(uri).path.strip("/")
        self.api.put(f"{FILES}/{quote(f'{root}/{path}')}", chunks, size)

    def close(self) -> None:
        self.api.close()

    def place(self, run: Run) -> tuple[str, str]:
        """Return the id there of a run that is there, and where its artifacts are."""
        there = self._ids[run.id]
        found = self.api.ask("runs/get", {"run_id": there}, get=True)
        return there, str(found["run"]["info"]["artifact_uri"])

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            try:
                found = self.api.ask("experiments/get-by-name", {"experiment_name": name}, get=True)
                self._experiments[name] = found["experiment"]["experiment_id"]
            except NotFound:
                found = self.api.ask("experiments/create", {"name": name})
                self._experiments[name] = found["experiment_id"]
        return self._experiments[name]

    def _values(self, there: str, run: Run, tags: dict[str, str], left: list[Left]) -> None:
        params = {name: text(value) for name, value in run.params.items()}
        for kind, values, most in (("param", params, _PARAM_LENGTH), ("tag", tags, _TAG_LENGTH)):
            for name, value in values.items():
                if len(value) > most:
                    why = f"MLflow takes {most} characters of its {len(value)}"
                    left.append(Left(run=run.id, what=f"the end of the {kind} {name}", why=why))
                    values[name] = value[:most]
        for some in _pieces(list(params.items()), _PARAMS):
            pairs = [{"key": key, "value": value} for key, value in some]
            self.api.ask("runs/log-batch", {"run_id": there, "params": pairs})
        for some in _pieces(list(tags.items()), _TAGS):
            pairs = [{"key": key, "value": value} for key, value in some]
            self.api.ask("runs/log-batch", {"run_id": there, "tags": pairs})

    def _points(self, there: str, series: Series) -> int:
        steps, at, values = (column.tolist() for column in arrays(series))
        points = [
            {"key": series.name, "step": s, "timestamp": t // 1000, "value": _number(v)}
            for s, t, v in zip(steps, at, values, strict=True)
        ]
        for some in _pieces(points, _METRICS):
            self.api.ask("runs/log-batch", {"run_id": there, "metrics": some})
        return len(points)

    def _files(self, held: Held, uri: str, left: list[Left]) -> tuple[int, int]:
        files = held.files()
        if not files:
            return 0, 0
        if not uri.startswith(PROXIED):
            why = f"the server takes no files: it keeps them at {uri}"
            left.append(Left(run=held.run.id, what=f"{len(files)} files", why=why))
            return 0, 0
        for path, file in files.items():
            self.upload(uri, path, held.chunks(file), file.size)
        return len(files), sum(file.size for file in files.values())

    def _end(self, there: str, run: Run) -> None:
        update: dict[str, Any] = {"run_id": there, "status": _STATUS[run.status]}
        if run.ended_at is not None:
            update["end_time"] = _millis(run.ended_at)
        self.api.ask("runs/update", update)
        self.api.ask("runs/set-tag", {"run_id": there, "key": WHOLE, "value": "yes"})


def _pieces(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _number(value: float) -> Any:
    """Return a value as proto-JSON has it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _millis(at: datetime) -> int:
    return to_micros(at) // 1000
