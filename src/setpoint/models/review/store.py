"""The only SQL about approvals and protections. None opens or commits."""

import msgspec
from sqlalchemy import Connection, delete, insert, select

from setpoint.db.upsert import upsert
from setpoint.models.review.entities import Approval, Asked, Protection
from setpoint.models.tables import model_approvals, model_asked, model_protections, model_versions

a, k, p, v = model_approvals.c, model_asked.c, model_protections.c, model_versions.c


def add_approval(conn: Connection, approval: Approval) -> None:
    """Insert a decision; what was decided before stays on record."""
    conn.execute(insert(model_approvals).values(msgspec.structs.asdict(approval)))


def approvals(conn: Connection, model: str, number: int | None = None) -> list[Approval]:
    """Return the decisions about a version, or about all of a model, newest first."""
    query = select(model_approvals).where(a.model == model)
    if number is not None:
        query = query.where(a.number == number)
    rows = conn.execute(query.order_by(a.at.desc(), a.id.desc()))
    return [msgspec.convert(row, Approval, from_attributes=True) for row in rows]


def protections(conn: Connection, model: str) -> list[Protection]:
    """Return the protected aliases of a model, by name."""
    query = select(model_protections).where(p.model == model).order_by(p.alias)
    rows = conn.execute(query)
    return [msgspec.convert(row, Protection, from_attributes=True) for row in rows]


def put_protection(conn: Connection, protection: Protection) -> None:
    """Protect an alias, whatever protected it before."""
    drop_protection(conn, protection.model, protection.alias)
    conn.execute(insert(model_protections).values(msgspec.structs.asdict(protection)))


def drop_protection(conn: Connection, model: str, alias: str) -> bool:
    """Remove the protection of an alias; tell whether it had one."""
    done = conn.execute(delete(model_protections).where(p.model == model, p.alias == alias))
    return done.rowcount == 1


def put_asked(conn: Connection, asked: Asked) -> None:
    """Let an approval wait; asked again, it waits for the newest reason."""
    row = msgspec.structs.asdict(asked)
    upsert(conn, model_asked, [row], update=["actor", "at", "reason"])


def drop_asked(conn: Connection, model: str, number: int, role: str) -> None:
    """Let an approval wait no more, if it does."""
    its = (k.model == model, k.number == number, k.role == role)
    conn.execute(delete(model_asked).where(*its))


def asked(conn: Connection, model: str | None = None) -> list[Asked]:
    """Return the approvals that wait for versions that are not deleted, oldest first."""
    both = (v.model == k.model) & (v.number == k.number)
    query = select(model_asked).join(model_versions, both).where(v.deleted_at.is_(None))
    if model is not None:
        query = query.where(k.model == model)
    rows = conn.execute(query.order_by(k.at, k.model, k.number, k.role))
    return [msgspec.convert(row, Asked, from_attributes=True) for row in rows]
