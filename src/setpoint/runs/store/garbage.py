"""What deleted runs hold, and taking it away."""

from datetime import datetime

from sqlalchemy import Connection, delete, select, text

from setpoint.comments import store as comments
from setpoint.db import references
from setpoint.runs.entities import Lifecycle
from setpoint.runs.store import cards, values
from setpoint.runs.tables import experiments as e
from setpoint.runs.tables import run_artifacts as a
from setpoint.runs.tables import run_sources
from setpoint.runs.tables import runs as r


def dead(conn: Connection, before: datetime, only: list[str]) -> list[int]:
    """Return the runs that go; not those whose files a registered version of a model needs."""
    query = select(r.c.key).where(r.c.lifecycle == Lifecycle.DELETED, r.c.deleted_at <= before)
    query = query.where(r.c.id.not_in(references.runs_of_versions()))
    if only:
        query = query.where(r.c.id.in_(only))
    return list(conn.execute(query.order_by(r.c.key)).scalars())


def empty_experiments(conn: Connection, before: datetime, gone: list[int]) -> list[int]:
    """Return deleted experiments that hold no run but those that go."""
    query = select(e.c.id).where(e.c.lifecycle == Lifecycle.DELETED, e.c.updated_at <= before)
    found = set(conn.execute(query).scalars())
    going = set(gone)
    for number, key in conn.execute(
        select(r.c.experiment_id, r.c.key).where(r.c.experiment_id.in_(found))
    ):
        if key not in going:
            found.discard(number)
    return sorted(found)


def addresses(conn: Connection, keys: list[int]) -> set[str]:
    """Return the files and differences of code that runs name."""
    found = set(conn.execute(select(a.c.address).where(a.c.run_key.in_(keys))).scalars())
    for code in conn.execute(select(r.c.code).where(r.c.key.in_(keys))).scalars():
        if code and code.get("diff"):
            found.add(code["diff"])
    return found


def drop(conn: Connection, keys: list[int]) -> None:
    """Delete runs with all they carry, but for their series."""
    values.drop(conn, keys)
    cards.drop(conn, keys)
    ids = conn.execute(select(r.c.id).where(r.c.key.in_(keys))).scalars()
    comments.forget(conn, [f"run:{each}" for each in ids])
    conn.execute(delete(run_sources).where(run_sources.c.run_key.in_(keys)))
    conn.execute(delete(r).where(r.c.key.in_(keys)))


def hold_files(conn: Connection) -> None:
    """Let no run name another file until this transaction ends."""
    if conn.dialect.name == "postgresql":  # SQLite has one writer: this one
        conn.execute(text("LOCK TABLE run_artifacts IN SHARE ROW EXCLUSIVE MODE"))
