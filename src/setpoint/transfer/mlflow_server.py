"""A server that speaks MLflow's REST API, read over HTTP."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from setpoint.errors import NotFound
from setpoint.models.entities import PROMPT
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Dataset
from setpoint.transfer.entities import (
    Content,
    Left,
    SourceFile,
    SourceModel,
    SourceRun,
    SourceVersion,
)
from setpoint.transfer.mlflow import (
    KIND,
    Login,
    dataset_of,
    files_at,
    named_so,
    run_of,
    unbounded,
    version_of,
)
from setpoint.transfer.mlflow_http import FILES, Api

_PROMPTS = f"tags.`{PROMPT}` = 'true'"
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
        return []

    def models(self) -> Sequence[SourceModel]:
        found = []
        for text in ("", _PROMPTS):  # those come only when they are asked for
            asked: dict[str, Any] = {"filter": text, "get": True}
            for model in self._api.paged("registered-models/search", "registered_models", **asked):
                aliases = model.get("aliases", ())
                found.append(
                    SourceModel(
                        name=model["name"],
                        description=model.get("description", ""),
                        tags=_pairs(model.get("tags")),
                        aliases={each["alias"]: int(each["version"]) for each in aliases},
                        versions=self._versions(model["name"], text),
                    )
                )
        return found

    def _versions(self, model: str, text: str) -> list[SourceVersion]:
        named = f"{named_so(model)} AND {text}" if text else named_so(model)
        asked: dict[str, Any] = {"filter": named, "get": True}
        found = []
        for about in self._api.paged("model-versions/search", "model_versions", **asked):
            at = self._place(model, about)
            run = self._runs.get(about.get("run_id", ""), {"info": {}})
            found.append(
                version_of(
                    about,
                    tags=_pairs(about.get("tags")),
                    at=at,
                    run_at=str(run["info"].get("artifact_uri", "")),
                    files=partial(self._files_at, at, f"{model}/{about['version']}"),
                )
            )
        return sorted(found, key=lambda version: version.number)

    def _place(self, model: str, about: dict[str, Any]) -> str:
        """Return where the files of a version are; of a deleted logged model, what it was."""
        one = {"name": model, "version": about["version"]}
        try:
            found = self._api.ask("model-versions/get-download-uri", one, get=True)
        except NotFound:
            return str(about.get("source", ""))
        return str(found.get("artifact_uri", ""))

    def _files_at(self, uri: str, of: str, left: list[Left]) -> Iterator[SourceFile]:
        if not uri.startswith("mlflow-artifacts:"):
            yield from files_at(uri, of, left)
            return
        root = urlsplit(uri).path.strip("/")
        folders = [""]
        while folders:
            folder = folders.pop()
            for entry in self._api.files(f"{root}/{folder}".rstrip("/")):
                path = f"{folder}/{entry['path']}".lstrip("/")
                if entry.get("is_dir"):
                    folders.append(path)
                else:
                    target = f"{FILES}/{quote(f'{root}/{path}')}"
                    yield SourceFile(path=path, chunks=partial(self._api.download, target))

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
