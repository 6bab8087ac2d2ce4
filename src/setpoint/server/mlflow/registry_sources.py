"""Where the files of a version may be said to be, and where they are."""

import re
from urllib.parse import unquote, urlsplit

from setpoint.errors import NotFound
from setpoint.models.registry import commands, service
from setpoint.models.registry.entities import Entry
from setpoint.runs import commands as tracking
from setpoint.runs import service as runs
from setpoint.server.mlflow import registry_render, render, trained
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.logged import models as logged
from setpoint.server.mlflow.routing import Call

#: What MLflow's clients say of versions of prompts, which have no files.
PLACEHOLDERS = frozenset({"dummy-source", "prompt-template"})

_MODEL = re.compile(r"/?(?P<name>[^/@]+)/(?P<number>\d+)$")
_LOGGED = re.compile(r"/?(?P<id>m-[^/]+)$")
_LOCAL = {"", "file"}
_DEEP = 10  #: versions made of versions


def check(call: Call, source: str, run_id: str, model_id: str) -> None:
    """Refuse a source that is not there for everybody, or not of the run or model it names.

    Raises:
        Refused: In the words of MLflow's server.
    """
    parts = urlsplit(source)
    if parts.scheme in _LOCAL:
        owner = "model" if model_id else "run"
        raise Refused(
            f"Invalid model version source: '{source}'. To use a local path as a model version "
            f"source, the {owner}_id request parameter has to be specified and the local path "
            "has to be contained within the artifact directory of the "
            f"{owner} specified by the {owner}_id."
        )
    if ".." in _parts(source)[2]:
        raise Refused(
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, "
            "local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be "
            "provided without relative path references present."
        )
    if parts.scheme == "runs" and (parts.netloc or model_id or _owner(parts.path) != run_id):
        raise _foreign(source, "model_id" if model_id else "run_id")
    if parts.scheme == "models":
        named = _LOGGED.match(parts.path)
        if parts.netloc or (named and named["id"] != model_id):
            raise _foreign(source, "model_id")
    if parts.scheme == "mlflow-artifacts" and not _inside(call, source, run_id, model_id):
        raise _foreign(source, "model_id" if model_id else "run_id")


def run_of(call: Call, source: str, model_id: str) -> str:
    """Return the run that made what a version is registered from, empty if none is known."""
    if model_id:
        return logged.find(call, model_id).run_id
    origin = _version(call, source)
    return origin.version.run_id if origin else ""


def location(call: Call, entry: Entry) -> str:
    """Return where a version's files are, through versions and logged models it is made of."""
    for _ in range(_DEEP):
        if entry.version.trained_here:
            return trained.location(entry.version)
        source = registry_render.source(entry)
        parts = urlsplit(source)
        if parts.scheme != "models":
            break
        named = _LOGGED.match(parts.path)
        if named:
            return logged.find(call, named["id"], deleted=True).location
        origin = _version(call, source)
        if origin is None:
            break
        entry = origin
    return registry_render.source(entry)


def _version(call: Call, source: str) -> Entry | None:
    parts = urlsplit(source)
    named = _MODEL.match(unquote(parts.path)) if parts.scheme == "models" else None
    if named is None:
        return None
    cmd = commands.OneVersion(model=named["name"], number=int(named["number"]))
    return call.run(service.version, cmd)


def _owner(path: str) -> str:
    return path.strip("/").partition("/")[0]


def _inside(call: Call, source: str, run_id: str, model_id: str) -> bool:
    """Tell whether a place is in the folder of the run or logged model that is named."""
    if model_id:
        root = logged.find(call, model_id).location
    elif run_id:
        try:
            root = render.artifact_uri(call.run(runs.show, tracking.ShowRun(run=run_id)))
        except NotFound:
            return False
    else:
        return False
    (scheme, host, inner), (kind, place, outer) = _parts(source), _parts(root)
    return (scheme, host) == (kind, place) and bool(outer) and inner[: len(outer)] == outer


def _parts(uri: str) -> tuple[str, str, tuple[str, ...]]:
    parts = urlsplit(uri)
    path = parts.path
    while (plain := unquote(path)) != path:
        path = plain
    return parts.scheme.lower(), parts.netloc.lower(), tuple(p for p in path.split("/") if p)


def _foreign(source: str, parameter: str) -> Refused:
    return Refused(
        f"Invalid model version source: '{source}'. The {parameter} request parameter must "
        "identify the resource that contains the source."
    )
