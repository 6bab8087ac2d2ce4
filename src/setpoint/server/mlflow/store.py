"""Files under paths that are no run's, and files that have not arrived whole."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, text

from setpoint.artifacts import store as objects
from setpoint.core.operations import Context
from setpoint.db import references
from setpoint.db.upsert import upsert
from setpoint.runs.entities import Artifact
from setpoint.server.mlflow.tables import mlflow_files, mlflow_parts, mlflow_uploads

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


def files_under(conn: Connection, path: str) -> dict[str, Artifact]:
    """Return the files at and under a path, by path."""
    table = mlflow_files.c
    rows = conn.execute(select(table.path, table.address, table.size).where(_inside(path)))
    return {row.path: Artifact(address=row.address, size=row.size) for row in rows}


def drop_files(conn: Connection, path: str) -> set[str]:
    """Forget the files at and under a path; return the objects they stood for."""
    gone = set(conn.scalars(select(mlflow_files.c.address).where(_inside(path))))
    conn.execute(delete(mlflow_files).where(_inside(path)))
    return gone


def free(ctx: Context, addresses: set[str]) -> int:
    """Delete the objects that nothing names any more; return their bytes.

    Nobody names one meanwhile, see `hold_files`.
    """
    if not addresses:
        return 0
    hold_files(ctx.conn)
    going = addresses - references.named(ctx.conn, addresses, rows={})
    return objects.free(objects.open_store(ctx.settings), going).bytes


def hold_files(conn: Connection) -> None:
    """Let nothing get an object until this transaction ends: call it before it writes.

    SQLite has one writer; on PostgreSQL others wait to write into the tables that name objects.
    """
    if conn.dialect.name == "postgresql":
        names = "mlflow_files, mlflow_parts, run_artifacts"
        conn.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))


def add_upload(conn: Connection, upload: str, now: datetime) -> None:
    conn.execute(insert(mlflow_uploads).values(id=upload, begun_at=now))


def uploads(conn: Connection, *, before: datetime) -> list[str]:
    """Return the uploads that began before a time and have not ended."""
    table = mlflow_uploads.c
    return list(conn.scalars(select(table.id).where(table.begun_at < before)))


def has_upload(conn: Connection, upload: str, *, hold: bool) -> bool:
    """Tell whether an upload goes on, or let nobody end it before this transaction does."""
    query = select(mlflow_uploads.c.id).where(mlflow_uploads.c.id == upload)
    query = query.with_for_update(read=True) if hold else query
    return conn.execute(query).first() is not None


def put_part(conn: Connection, upload: str, number: int, address: str) -> None:
    """Let a part of an upload be an object, instead of what it was."""
    row = {"upload_id": upload, "number": number, "address": address}
    upsert(conn, mlflow_parts, [row], update=("address",))


def parts(conn: Connection, upload: str) -> dict[int, str]:
    """Return the objects of the parts that have arrived, by number."""
    table = mlflow_parts.c
    rows = conn.execute(select(table.number, table.address).where(table.upload_id == upload))
    return {row.number: row.address for row in rows}


def drop_upload(conn: Connection, upload: str) -> None:
    """Forget an upload and its parts."""
    conn.execute(delete(mlflow_parts).where(mlflow_parts.c.upload_id == upload))
    conn.execute(delete(mlflow_uploads).where(mlflow_uploads.c.id == upload))


def _inside(path: str) -> ColumnElement[bool]:
    """Return the condition of being at or under a path: all, for the empty one."""
    table = mlflow_files.c
    prefix = f"{path}/" if path else ""
    inside = (table.path == path) | (func.substr(table.path, 1, len(prefix)) == prefix)
    return inside & (table.root == _root(path)) if path.count("/") >= _ROOT - 1 else inside


def _root(path: str) -> str:
    return "/".join(path.split("/")[:_ROOT])
