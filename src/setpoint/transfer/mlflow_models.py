"""Registered models for a server that speaks MLflow's REST API.

Each version goes with the run that made it, which goes first if it is not there; its files
become, or are, artifacts of that run.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from setpoint.artifacts.contract import ObjectStore
from setpoint.core.operations import Backend
from setpoint.errors import NotFound
from setpoint.models import service
from setpoint.models.entities import PROMPT, ModelVersion
from setpoint.models.registry import service as registry
from setpoint.models.registry.commands import OneModel, OneVersion
from setpoint.models.registry.entities import Entry, Model
from setpoint.models.search.service import SearchModels, search
from setpoint.models.service import ShowModel
from setpoint.runs import service as runs
from setpoint.runs.commands import ShowRun
from setpoint.runs.entities import Artifact, Run
from setpoint.transfer import pyfunc
from setpoint.transfer.entities import Left, Sent, Told, untold
from setpoint.transfer.exporter import Held
from setpoint.transfer.mlflow import named_so
from setpoint.transfer.mlflow_target import PROXIED, MlflowTarget

VERSION = "setpoint.version"  #: the tag that names our version

_LOGGED = "models:/m-"
_PROMPTS = f"tags.`{PROMPT}` = 'true'"
_NONE = "None"  #: the stage of a version that is in none

Files = Mapping[str, Artifact | bytes]


def send_models(
    backend: Backend,
    store: ObjectStore,
    target: MlflowTarget,
    names: list[str],
    logged: Callable[[str], Files] = lambda _id: {},
    told: Told = untold,
) -> Sent:
    """Export registered models; versions that are there are not written again.

    Args:
        backend: Has the models and their runs.
        store: Has their files.
        target: The server.
        names: Of models; empty means all, prompts among them.
        logged: Returns the files of a logged model by its id.
        told: Called before each model.
    """
    names = names or list(_names(backend))
    sending = _Sending(backend, store, target, logged)
    for done, name in enumerate(names):
        told(done, len(names), name)
        sending.model(backend.call(registry.about, OneModel(model=name)))
    target.close()
    return Sent(
        to=target.where,
        runs=sending.runs,
        points=sending.points,
        files=sending.files,
        bytes=sending.bytes,
        models=len(names),
        versions=sending.versions,
        versions_known=sending.known,
        left=sending.left,
    )


class _Sending:
    def __init__(
        self,
        backend: Backend,
        store: ObjectStore,
        target: MlflowTarget,
        logged: Callable[[str], Files],
    ) -> None:
        self._backend = backend
        self._store = store
        self._target = target
        self._api = target.api
        self._logged = logged
        self.runs = self.points = self.files = self.bytes = self.versions = self.known = 0
        self.left: list[Left] = []

    def model(self, model: Model) -> None:
        """Write a model with what is said of it, its versions and its aliases."""
        there = self._numbers(model)
        detail = self._backend.call(service.show, ShowModel(model=model.model))
        for version in reversed(detail.versions):
            name = f"{model.model}/{version.number}"
            if name in there:
                self.known += 1
            else:
                one = OneVersion(model=model.model, number=version.number)
                there[name] = self._version(self._backend.call(registry.version, one))
                self.versions += 1
        for alias, number in model.aliases.items():
            body = {"name": model.model, "alias": alias}
            body["version"] = there[f"{model.model}/{number}"]
            self._api.ask("registered-models/alias", body)

    def _numbers(self, model: Model) -> dict[str, str]:
        """Return the versions that are there, by the names of ours; make the model if need be."""
        try:
            self._api.ask("registered-models/get", {"name": model.model}, get=True)
        except NotFound:
            made = {"name": model.model, "description": model.description}
            self._api.ask("registered-models/create", {**made, "tags": _pairs(model.tags)})
        asked = {"filter": named_so(model.model)}
        if model.prompt:
            asked["filter"] += f" AND {_PROMPTS}"
        found = self._api.paged("model-versions/search", "model_versions", get=True, **asked)
        tagged = [({t["key"]: t["value"] for t in v.get("tags", ())}, v["version"]) for v in found]
        return {tags[VERSION]: str(number) for tags, number in tagged if VERSION in tags}

    def _version(self, entry: Entry) -> str:
        version = entry.version
        run, place = self._run(version.run_id)
        body = {
            "name": version.model,
            "source": self._source(version, place),
            "run_id": run,
            "run_link": version.run_link,
            "description": version.description,
            "tags": _pairs({**entry.tags, VERSION: f"{version.model}/{version.number}"}),
        }
        made = self._api.ask("model-versions/create", body)["model_version"]
        number = str(made["version"])
        if version.stage != _NONE:
            moved = {"name": version.model, "version": number, "stage": version.stage}
            self._api.ask("model-versions/transition-stage", moved)
        return number

    def _run(self, run_id: str) -> tuple[str, str]:
        """Return the run there and where its artifacts are; write it if it is not there."""
        try:
            run: Run = self._backend.call(runs.show, ShowRun(run=run_id))
        except NotFound:
            return "", ""
        if not self._target.has(run):
            points, files, size, left = self._target.put(Held(self._backend, self._store, run))
            self.runs, self.points = self.runs + 1, self.points + points
            self.files, self.bytes = self.files + files, self.bytes + size
            self.left += left
        return self._target.place(run)

    def _source(self, version: ModelVersion, place: str) -> str:
        """Return where the files of a version are there; copy them, if they are of no run."""
        own = f"runs:/{version.run_id}/"
        if version.source.startswith(own) and place:
            return f"{place}/{version.source.removeprefix(own)}"
        files: Files = {}
        if version.trained_here:
            files = pyfunc.folder(version)
        elif version.source.startswith(_LOGGED):
            files = self._logged(version.source.removeprefix("models:/"))
        if not (files and place.startswith(PROXIED)):
            if version.trained_here or version.source.startswith(_LOGGED):
                why = "they cannot be loaded elsewhere" if place else "it has no run to go with"
                what = f"files of version {version.number} of {version.model}"
                self.left.append(Left(run=version.run_id, what=what, why=why))
            return version.source or f"setpoint:/models/{version.model}/{version.number}"
        folder = f"registered/{version.model}/{version.number}"
        for path, file in files.items():
            size = len(file) if isinstance(file, bytes) else file.size
            self._target.upload(place, f"{folder}/{path}", self._chunks(file), size)
            self.files, self.bytes = self.files + 1, self.bytes + size
        return f"{place}/{folder}"

    def _chunks(self, file: Artifact | bytes) -> Iterator[bytes]:
        return iter([file]) if isinstance(file, bytes) else self._store.chunks(file.address)


def _names(backend: Backend) -> Iterator[str]:
    for text in ("", _PROMPTS):  # those are found only when they are asked for
        token, more = "", True
        while more:
            page = backend.call(search, SearchModels(filter=text, token=token))
            yield from (each.model for each in page.models)
            token = page.next
            more = bool(token)


def _pairs(tags: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
