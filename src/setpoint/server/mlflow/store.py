"""Files that belong to no run, and the statement that both databases say differently."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from setpoint.core.operations import Context
from setpoint.runs.entities import Artifact
from setpoint.server.mlflow.tables import mlflow_files

_BATCH = 500  #: rows of one statement
_ROOT = 3  #: parts of a path that say what it belongs to


def upsert(conn: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; where one of the same key is there, it takes the new one's values."""
    make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement = make(table)
    keys = list(table.primary_key.columns)
    changed = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    for start in range(0, len(rows), _BATCH):
        conn.execute(statement, rows[start : start + _BATCH])


def put_file(ctx: Context, path: str, artifact: Artifact) -> None:
    """Let a path stand for an object, instead of what it stood for."""
    row = {"path": path, "root": _root(path), "address": artifact.address, "size": artifact.size}
    upsert(ctx.conn, mlflow_files, [{**row, "at": ctx.now}])


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
