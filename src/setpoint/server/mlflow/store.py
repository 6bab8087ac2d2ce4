"""Files under paths that are no run's."""

from sqlalchemy import ColumnElement, Connection, delete, func, select

from setpoint.core.operations import Context
from setpoint.db.upsert import upsert
from setpoint.runs.entities import Artifact
from setpoint.server.mlflow.tables import mlflow_files

_ROOT = 3  #: parts of a path that say what it belongs to


def put_file(ctx: Context, path: str, artifact: Artifact) -> None:
    """Let a path stand for an object, instead of what it stood for."""
    row = {"path": path, "root": _root(path), "address": artifact.address, "size": artifact.size}
    changed = ("address", "size", "at")
    upsert(ctx.conn, mlflow_files, [{**row, "at": ctx.now}], update=changed)


def get_file(conn: Connection, path: str) -> Artifact | None:
    table = mlflow_files.c
    row = conn.execute(select(table.address, table.size).where(table.path == path)).first()
    return None if row is None else Artifact(address=row.address, size=row.size)


def sizes_under(conn: Connection, path: str) -> dict[str, int]:
    """Return the sizes of the files at and under a path, by path."""
    table = mlflow_files.c
    rows = conn.execute(select(table.path, table.size).where(_inside(path)))
    return {row.path: row.size for row in rows}


def drop_files(conn: Connection, path: str) -> None:
    """Forget the files at and under a path."""
    conn.execute(delete(mlflow_files).where(_inside(path)))


def _inside(path: str) -> ColumnElement[bool]:
    """Return the condition of being at or under a path: all, for the empty one."""
    table = mlflow_files.c
    prefix = f"{path}/" if path else ""
    inside = (table.path == path) | (func.substr(table.path, 1, len(prefix)) == prefix)
    return inside & (table.root == _root(path)) if path.count("/") >= _ROOT - 1 else inside


def _root(path: str) -> str:
    return "/".join(path.split("/")[:_ROOT])
