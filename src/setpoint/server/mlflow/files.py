"""Which object a path of MLflow's artifact store stands for.

A path ``EXPERIMENT/RUN/artifacts/…`` is a run's artifact and kept with the run, where our pages
and our client see it. Every other path (of a logged model, of a trace) is kept here.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

from sqlalchemy import ColumnElement, Connection, delete, func, select

from setpoint.errors import NotFound
from setpoint.runs import commands, service
from setpoint.runs.entities import Artifact
from setpoint.server.mlflow import errors
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import Call
from setpoint.server.mlflow.sql import upsert
from setpoint.server.mlflow.tables import mlflow_files

_LONGEST = 4_000  #: characters of a path
_ROOT = 3  #: parts of a path that say what it belongs to
_OF_RUN = re.compile(r"\d+/([^/]+)/artifacts(?:/(.*))?")
_CLIMBING = {"", ".", ".."}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")


class Entry(NamedTuple):
    """A file or folder in a listing."""

    name: str
    size: int | None  #: bytes; None: a folder


def clean(path: str) -> str:
    """Return a path without a slash at its end.

    No path is ever one of a file system here. Those that would climb out of theirs on a
    client's disk are refused, however often they were quoted.

    Raises:
        Refused: If it is absolute, climbs, or has a control character or a backslash.
    """
    seen, plain = "", path
    while plain != seen:
        seen, plain = plain, unquote(plain)
    bare = path.removesuffix("/")
    climbs = bare and any(part in _CLIMBING for part in plain.removesuffix("/").split("/"))
    if climbs or len(path) > _LONGEST or _UNPRINTABLE.search(plain):
        raise Refused("Invalid path")
    return bare


def put(call: Call, path: str, artifact: Artifact) -> None:
    """Let a path stand for an object, instead of what it stood for."""
    run, within = _of_run(path)
    if within:
        try:
            call.run(service.log, commands.Log(run=run, artifacts={within: artifact}))
        except NotFound:
            pass
        else:
            return
    row = {"path": path, "root": _root(path), "address": artifact.address, "size": artifact.size}
    call.write(lambda ctx: upsert(ctx.conn, mlflow_files, [{**row, "at": ctx.now}]))


def get(call: Call, path: str) -> Artifact:
    """Return the object of a path.

    Raises:
        Refused: If there is none.
    """
    _, within = _of_run(path)
    found = _of_its_run(call, path).get(within) if within else None
    found = found or call.read(lambda conn: _get(conn, path))
    if found is None:
        raise Refused(f"No such artifact: '{path}'", errors.MISSING)
    return found


def listing(call: Call, path: str) -> list[Entry]:
    """Return what is directly in a folder, by name; of a file, itself."""
    _, within = _of_run(path)
    artifacts = _of_its_run(call, path)
    if artifacts:
        return _children({name: each.size for name, each in artifacts.items()}, within)
    return _children(call.read(lambda conn: _under(conn, path)), path)


def forget(call: Call, path: str) -> None:
    """Forget a file or everything in a folder; what is not there is forgotten already."""
    run, within = _of_run(path)
    artifacts = _of_its_run(call, path)
    if artifacts:
        paths = [within] if within else list(artifacts)
        call.run(service.forget, commands.Forget(run=run, artifacts=paths))
    call.write(lambda ctx: ctx.conn.execute(delete(mlflow_files).where(_inside(path))))


def _of_run(path: str) -> tuple[str, str]:
    """Return the run that a path may belong to, and the path within its artifacts."""
    found = _OF_RUN.fullmatch(path)
    return (found.group(1), found.group(2) or "") if found else ("", "")


def _of_its_run(call: Call, path: str) -> dict[str, Artifact]:
    """Return a run's artifacts at and under a path; none if it is no run's."""
    run, within = _of_run(path)
    if not run:
        return {}
    try:
        asked = commands.ListArtifacts(run=run, under=within)
        return call.run(service.artifacts, asked).artifacts
    except NotFound:
        return {}


def _children(sizes: dict[str, int], folder: str) -> list[Entry]:
    prefix = f"{folder}/" if folder else ""
    found: dict[str, Entry] = {}
    for path, size in sizes.items():
        if path == folder:
            found[path] = Entry(path.rpartition("/")[2], size)
        elif path.startswith(prefix):
            name, deeper, _ = path[len(prefix) :].partition("/")
            found[name] = Entry(name, None if deeper else size)
    return [found[name] for name in sorted(found)]


def _get(conn: Connection, path: str) -> Artifact | None:
    table = mlflow_files.c
    row = conn.execute(select(table.address, table.size).where(table.path == path)).first()
    return None if row is None else Artifact(address=row.address, size=row.size)


def _under(conn: Connection, path: str) -> dict[str, int]:
    table = mlflow_files.c
    rows = conn.execute(select(table.path, table.size).where(_inside(path)))
    return {row.path: row.size for row in rows}


def _inside(path: str) -> ColumnElement[bool]:
    """Return the condition of being at or under a path: all, for the empty one."""
    table = mlflow_files.c
    prefix = f"{path}/" if path else ""
    inside = (table.path == path) | (func.substr(table.path, 1, len(prefix)) == prefix)
    return inside & (table.root == _root(path)) if path.count("/") >= _ROOT - 1 else inside


def _root(path: str) -> str:
    return "/".join(path.split("/")[:_ROOT])
