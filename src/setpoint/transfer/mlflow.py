"""MLflow's stores: a folder of runs, a database, or a server."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from msgspec import Struct

from setpoint.core.clock import from_micros
from setpoint.errors import Invalid, NotFound
from setpoint.models.registry.rules import stage
from setpoint.runs.columns import Floats
from setpoint.runs.entities import Dataset, Status
from setpoint.transfer.entities import Left, Source, SourceFile, SourceRun, SourceVersion
from setpoint.transfer.files import under

KIND = "mlflow"
_LARGEST = sys.float_info.max
_CONTEXT = "mlflow.data.context"
_DATASET = ("name", "digest", "source_type", "source", "schema", "profile")
NAME, USER, PARENT = "mlflow.runName", "mlflow.user", "mlflow.parentRunId"
_STATUS = {
    "RUNNING": Status.RUNNING,
    "SCHEDULED": Status.SCHEDULED,
    "FINISHED": Status.FINISHED,
    "FAILED": Status.FAILED,
    "KILLED": Status.KILLED,
}
_VERSION = (
    *("run_id", "source", "description", "current_stage"),
    *("status", "status_message", "run_link"),
)
_READY = {"PENDING_REGISTRATION": "pending", "FAILED_REGISTRATION": "failed"}
DELETED = "Deleted_Internal"  #: the stage that MLflow gives to versions that are deleted
_NUMBERED = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


class Login(Struct, frozen=True, kw_only=True):
    """Whom a server is told that asks."""

    token: str = ""
    user: str = ""
    password: str = ""


def open_mlflow(where: str, login: Login) -> Source:
    """Return the store that MLflow's tracking URI `where` names.

    Raises:
        NotFound: If nothing is there.
        Invalid: If it is something else.
    """
    from setpoint.transfer.mlflow_files import MlflowFiles  # noqa: PLC0415 - one of three
    from setpoint.transfer.mlflow_server import MlflowServer  # noqa: PLC0415
    from setpoint.transfer.mlflow_sql import MlflowSql  # noqa: PLC0415

    parts = urlsplit(where)
    if parts.scheme in {"http", "https"}:
        return MlflowServer(where, login)
    if parts.scheme and parts.scheme != "file" and len(parts.scheme) > 1:
        return MlflowSql(where, where)
    path = local(where)
    if path is None or not path.exists():
        raise NotFound(f"{where} is not there", hint="name a folder mlruns, a database or a URL")
    return MlflowFiles(where, path) if path.is_dir() else MlflowSql(where, f"sqlite:///{path}")


def run_of(info: Mapping[str, Any], experiment: str, **more: Any) -> SourceRun:
    """Return a run from what MLflow calls its info: names as in its REST API.

    Args:
        info: `run_id`, `status` (a name, or a number as in files), `start_time` and `end_time`
            in milliseconds, `lifecycle_stage`, `run_name`, `user_id`.
        experiment: Its name.
        more: Other fields of the run.
    """
    status = info.get("status") or "FINISHED"
    if isinstance(status, int):
        status = _NUMBERED[status]
    tags = more.get("tags", {})
    end = info.get("end_time")
    return SourceRun(
        id=str(info["run_id"]),
        experiment=experiment,
        name=info.get("run_name") or tags.get(NAME, ""),
        status=_STATUS[status],
        started_at=from_micros(int(info.get("start_time") or 0) * 1000),
        ended_at=from_micros(int(end) * 1000) if end else None,
        deleted=info.get("lifecycle_stage") == "deleted",
        actor=info.get("user_id") or tags.get(USER, ""),
        parent=tags.get(PARENT),
        **more,
    )


def dataset_of(about: Mapping[str, Any], tags: Mapping[str, str]) -> Dataset:
    """Return a dataset a run read, from what MLflow keeps of it and the tags of the reading."""
    fields = {name: str(about.get(name) or "") for name in _DATASET}
    named = dict(tags)
    return Dataset(**fields, context=named.pop(_CONTEXT, ""), tags=named)


def named_so(model: str) -> str:
    """Return the filter that finds the versions of a model."""
    mark = '"' if "'" in model else "'"
    return f"name = {mark}{model}{mark}"


def version_of(
    about: Mapping[str, Any],
    *,
    tags: dict[str, str],
    at: str,
    run_at: str,
    files: Callable[[list[Left]], Iterator[SourceFile]],
) -> SourceVersion:
    """Return a version of a registered model.

    Args:
        about: `version`, `run_id`, `source`, `description`, `current_stage`, `status`,
            `status_message`, `run_link`: names as in MLflow's REST API.
        tags: Its own.
        at: Where its files are.
        run_at: Where the artifacts of its run are; empty if it has none.
        files: Yields them, if they are no artifacts of the run.
    """
    inside = bool(run_at) and at.startswith(f"{run_at}/")
    text = {name: str(about.get(name) or "") for name in _VERSION}
    return SourceVersion(
        number=int(about["version"]),
        run=text["run_id"],
        source=text["source"],
        within=at.removeprefix(f"{run_at}/") if inside else None,
        files=files,
        description=text["description"],
        tags=tags,
        stage=stage(text["current_stage"] or "None"),
        status=_READY.get(text["status"], "ready"),
        status_message=text["status_message"],
        run_link=text["run_link"],
    )


def unbounded(values: Floats) -> Floats:
    """Return values with infinities: MLflow's databases hold the largest number for them."""
    found: Floats = np.where(np.abs(values) >= _LARGEST, np.copysign(np.inf, values), values)
    return found


def local(uri: str) -> Path | None:
    """Return the path of a file URI or a plain path, None for what is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme and len(parts.scheme) > 1 else Path(uri)


def files_at(uri: str, run: str, left: list[Left]) -> Iterator[SourceFile]:
    """Yield the artifacts below a URI on this machine; say so if it is elsewhere."""
    path = local(uri) if uri else None
    if path is None:
        why = f"they are at {uri}: import from the server that gives them out"
        left.append(Left(run=run, what="artifacts", why=why))
    elif path.is_dir():
        yield from under(path)


def damaged(where: str, error: Exception) -> Invalid:
    """Return the error for a store that cannot be read as MLflow's."""
    return Invalid(f"{where} is no store of MLflow that can be read", where=str(error)[:300])
