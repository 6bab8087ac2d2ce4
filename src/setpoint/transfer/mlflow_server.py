"""A server that speaks MLflow's REST API, read over HTTP."""

import base64
import http.client
import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from setpoint.errors import Denied, Invalid, NotFound, Unavailable
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Dataset
from setpoint.transfer.entities import Content, Left, SourceFile, SourceRun
from setpoint.transfer.mlflow import KIND, Login, files_at, run_of

_API = "/api/2.0/mlflow/"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE = 1_000
_HISTORY = 25_000
_PIECE = 1 << 20
_CONTEXT = "mlflow.data.context"


class MlflowServer:
    kind = KIND

    def __init__(self, where: str, login: Login) -> None:
        self.where = where
        self._headers = {"content-type": "application/json", **_authorization(login)}
        self._parts = urlsplit(where)
        self._connection: http.client.HTTPConnection | None = None
        self._runs: dict[str, dict[str, Any]] = {}

    def runs(self) -> Sequence[SourceRun]:
        found = []
        for experiment in self._paged("experiments/search", "experiments", view_type="ALL"):
            asked: dict[str, Any] = {
                "experiment_ids": [experiment["experiment_id"]],
                "run_view_type": "ALL",
            }
            for run in self._paged("runs/search", "runs", **asked):
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

    def left(self) -> list[Left]:
        models = self._paged("registered-models/search", "registered_models", get=True)
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
            points = list(self._paged("metrics/get-history", "metrics", **asked))
            yield (
                name,
                Columns(
                    np.array([int(p.get("step", 0)) for p in points], np.int64),
                    np.array([int(p["timestamp"]) * 1000 for p in points], np.int64),
                    np.array([float(p.get("value", 0)) for p in points], np.float64),
                ),
            )

    def _files(self, run: str, left: list[Left]) -> Iterator[SourceFile]:
        uri = str(self._runs[run]["info"].get("artifact_uri", ""))
        if not uri.startswith("mlflow-artifacts:"):
            yield from files_at(uri, run, left)
            return
        root = urlsplit(uri).path.strip("/")
        for path in self._listed(run, ""):
            target = f"{_FILES}/{quote(f'{root}/{path}')}"
            yield SourceFile(path=path, chunks=partial(self._download, target))

    def _listed(self, run: str, folder: str) -> Iterator[str]:
        asked: dict[str, Any] = {"run_id": run, "get": True}
        if folder:
            asked["path"] = folder
        for entry in self._paged("artifacts/list", "files", **asked):
            if entry.get("is_dir"):
                yield from self._listed(run, entry["path"])
            else:
                yield entry["path"]

    def _paged(self, what: str, items: str, *, get: bool = False, **asked: Any) -> Iterator[Any]:
        token = ""
        while True:
            page = {"page_token": token} if token else {}
            answer = self._ask(what, {"max_results": _PAGE, **asked, **page}, get=get)
            yield from answer.get(items, [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def _ask(self, what: str, asked: dict[str, Any], *, get: bool) -> Any:
        if get:
            reply = self._send("GET", f"{_API}{what}?{urlencode(asked)}")
        else:
            reply = self._send("POST", _API + what, json.dumps(asked).encode())
        content = reply.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise Invalid(f"{self.where} does not speak MLflow's REST", where=str(error)) from None

    def _download(self, path: str) -> Iterator[bytes]:
        reply = self._send("GET", path)
        while piece := reply.read(_PIECE):
            yield piece

    def _send(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        """Send one request; a connection that was closed meanwhile is opened again, once."""
        for again in (True, False):
            connection = self._connection or self._connect()
            try:
                connection.request(method, self._parts.path.rstrip("/") + path, body, self._headers)
                reply = connection.getresponse()
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                self._connection = None
                if again:
                    continue
                raise Unavailable(f"{self.where} does not answer", where=str(error)) from None
            if reply.status == http.client.OK:
                self._connection = connection
                return reply
            raise _refused(self.where, path, reply)
        raise AssertionError("unreachable")

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=60)
        return self._connection


def _authorization(login: Login) -> dict[str, str]:
    if login.token:
        return {"authorization": f"Bearer {login.token}"}
    if login.user:
        pair = f"{login.user}:{login.password}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _refused(where: str, path: str, reply: http.client.HTTPResponse) -> Exception:
    said = reply.read(500).decode("utf-8", "replace")
    if reply.status in {401, 403}:
        return Denied(f"{where} refuses us", hint="give --token, or --user and --password")
    if reply.status == http.client.NOT_FOUND:
        return NotFound(f"{where} has no {path.partition('?')[0]}", where=said)
    return Unavailable(f"{where} answered {reply.status} to {path.partition('?')[0]}", where=said)


def _pairs(items: Any) -> dict[str, Any]:
    return {each["key"]: each.get("value", "") for each in items or ()}


def _datasets(inputs: dict[str, Any]) -> list[Dataset]:
    found = []
    for each in inputs.get("dataset_inputs", []):
        about, tags = each.get("dataset", {}), _pairs(each.get("tags"))
        names = ("name", "digest", "source_type", "source", "schema", "profile")
        fields = {name: about.get(name) or "" for name in names}
        found.append(Dataset(**fields, context=tags.pop(_CONTEXT, ""), tags=tags))
    return found
