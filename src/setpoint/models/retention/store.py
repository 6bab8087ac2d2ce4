"""The only SQL about versions that go."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, select, update

from setpoint.db import references
from setpoint.models import store as versions
from setpoint.models.entities import ModelVersion
from setpoint.models.tables import model_versions, models

m, v = models.c, model_versions.c


def ruled(conn: Connection) -> list[str]:
    """Return the models that have a rule of keeping."""
    query = select(m.model).where(m.keep.is_not(None), m.deleted_at.is_(None))
    return list(conn.execute(query.order_by(m.model)).scalars())


def forgotten(conn: Connection, before: datetime) -> list[ModelVersion]:
    """Return the versions that were deleted by a time and whose files are still held."""
    query = select(model_versions).where(v.deleted_at <= before, v.purged_at.is_(None))
    rows = conn.execute(query.order_by(v.model, v.number))
    return [versions.entity(row) for row in rows]


def empty(conn: Connection, before: datetime) -> list[str]:
    """Return the models that were deleted by a time and have no version left to tell of."""
    its = select(v.number).where(v.model == m.model)
    query = select(m.model).where(m.deleted_at <= before, ~its.exists())
    return list(conn.execute(query.order_by(m.model)).scalars())


def given_up(conn: Connection) -> list[ModelVersion]:
    """Return the versions whose files may be freed."""
    query = select(model_versions).where(v.purged_at.is_not(None), v.freed_at.is_(None))
    rows = conn.execute(query.order_by(v.model, v.number))
    return [versions.entity(row) for row in rows]


def still_named(conn: Connection, addresses: set[str]) -> set[str]:
    """Return which objects something names besides versions whose files are given up."""

    def held(table: Table) -> ColumnElement[bool]:
        found: ColumnElement[bool] = table.c.purged_at.is_(None)
        return found

    return references.named(conn, addresses, rows={"model_versions": held})


def freed(conn: Connection, at: datetime) -> None:
    """Note that the files of all versions that were given up are gone."""
    conn.execute(
        update(model_versions)
        .where(v.purged_at.is_not(None), v.freed_at.is_(None))
        .values(freed_at=at)
    )
