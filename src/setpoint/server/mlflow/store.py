"""Files under paths that are no run's."""

from sqlalchemy import ColumnElement, Connection, delete, func, select, text

from setpoint.artifacts.store import open_store
from setpoint.core.operations import Context
from setpoint.db import references
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


def drop_files(conn: Connection, path: str) -> set[str]:
    """Forget the files at and under a path; return the objects they stood for."""
    gone = set(conn.scalars(select(mlflow_files.c.address).where(_inside(path))))
    conn.execute(delete(mlflow_files).where(_inside(path)))
    return gone


def free(ctx: Context, addresses: set[str]) -> int:
    """Delete the objects that nothing names any more; return their bytes.

    Nobody names one meanwhile: SQLite has one writer, and on PostgreSQL the tables in which a
    path gets its object wait for this transaction.
    """
    if not addresses:
        return 0
    if ctx.conn.dialect.name == "postgresql":
        ctx.conn.execute(text("LOCK TABLE mlflow_files, run_artifacts IN SHARE ROW EXCLUSIVE MODE"))
    objects, size = open_store(ctx.settings), 0
    for address in sorted(addresses - references.named(ctx.conn, addresses, rows={})):
        if objects.has(address):
            size += objects.size(address)
            objects.delete(address)
    return size


def _inside(path: str) -> ColumnElement[bool]:
    """Return the condition of being at or under a path: all, for the empty one."""
    table = mlflow_files.c
    prefix = f"{path}/" if path else ""
    inside = (table.path == path) | (func.substr(table.path, 1, len(prefix)) == prefix)
    return inside & (table.root == _root(path)) if path.count("/") >= _ROOT - 1 else inside


def _root(path: str) -> str:
    return "/".join(path.split("/")[:_ROOT])
