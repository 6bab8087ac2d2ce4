"""A server that speaks MLflow's REST API, read over HTTP."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from setpoint.runs.columns import Columns
from setpoint.runs.entities import Dataset
from setpoint.transfer.entities import Content, Left, SourceFile, SourceRun
from setpoint.transfer.mlflow import KIND, Login, dataset_of, files_at, run_of, unbounded
from setpoint.transfer.mlflow_http import FILES, Api

_HISTORY = 25_000  #: points of one answer


class MlflowServer:
    kind = KIND

    def __init__(self, where: str, login: Login) -> None:
        self.where = where
        self._api = Api(where, login)
        self._runs: dict[str, dict[str, Any]] = {}
        self._experiments: dict[str, dict[str, str]] = {}

    def runs(self) -> Sequence[SourceRun]:
        found = []
        for experiment in self._api.paged("experiments/search", "experiments", view_type="ALL"):
            asked: dict[str, Any] = {
                "experiment_ids": [experiment["experiment_id"]],
                "run_view_type": "ALL",
            }
            for run in self._api.paged("runs/search", "runs", **asked):
                info, data = run["info"], run.get("data", {})
                self._runs[info["run_id"]] = run
                found.append(
                    run_of(
                        info,
                        experiment["name"],
                        params=_pairs(data.get("params")),
                        tags=_pairs(data.get("tags")),
                        datasets=_datasets(run.get("inputs", {})),
                    )
                )
        return found

    def experiments(self) -> dict[str, dict[str, str]]:
        return self._experiments

    def close(self) -> None:
        self._api.close()

    def left(self) -> list[Left]:
        models = self._api.paged("registered-models/search", "registered_models", get=True)
        count = sum(1 for _ in models)
        why = "an import brings runs"
        return [Left(run="", what=f"{count} registered models", why=why)] if count else []

    def content(self, run: SourceRun) -> Content:
        left: list[Left] = []
        return Content(series=self._series(run.id), files=self._files(run.id, left), left=left)

    def _series(self, run: str) -> Iterator[tuple[str, Columns]]:
        names = {each["key"] for each in self._runs[run].get("data", {}).get("metrics", [])}
        for name in sorted(names):
            asked = {"run_id": run, "metric_key": name, "max_results": _HISTORY, "get": True}
            points = list(self._api.paged("metrics/get-history", "metrics", **asked))
            yield (
                name,
                Columns(
                    np.array([int(p.get("step", 0)) for p in points], np.int64),
                    np.array([int(p["timestamp"]) * 1000 for p in points], np.int64),
                    unbounded(np.array([float(p.get("value", 0)) for p in points], np.float64)),
                ),
            )

    def _files(self, run: str, left: list[Left]) -> Iterator[SourceFile]:
        uri = str(self._runs[run]["info"].get("artifact_uri", ""))
        if not uri.startswith("mlflow-artifacts:"):
            yield from files_at(uri, run, left)
            return
        root = urlsplit(uri).path.strip("/")
        for path in self._listed(run, ""):
            target = f"{FILES}/{quote(f'{root}/{path}')}"
            yield SourceFile(path=path, chunks=partial(self._api.download, target))

    def _listed(self, run: str, folder: str) -> Iterator[str]:
        asked: dict[str, Any] = {"run_id": run, "get": True}
        if folder:
            asked["path"] = folder
        for entry in self._api.paged("artifacts/list", "files", **asked):
            if entry.get("is_dir"):
                yield from self._listed(run, entry["path"])
            else:
                yield entry["path"]


def _pairs(items: Any) -> dict[str, Any]:
    return {each["key"]: each.get("value", "") for each in items or ()}


def _datasets(inputs: dict[str, Any]) -> list[Dataset]:
    used = inputs.get("dataset_inputs", [])
    return [dataset_of(each.get("dataset", {}), _pairs(each.get("tags"))) for each in used]
