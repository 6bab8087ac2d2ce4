"""The only SQL about approvals, protections and comments. None opens or commits."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from setpoint.errors import NotFound
from setpoint.models.review.entities import Approval, Comment, Protection
from setpoint.models.tables import model_approvals, model_comments, model_protections

a, c, p = model_approvals.c, model_comments.c, model_protections.c


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


def add_comment(conn: Connection, comment: Comment) -> None:
    """Insert a comment."""
    conn.execute(insert(model_comments).values(msgspec.structs.asdict(comment)))


def comments(conn: Connection, model: str, number: int | None = None) -> list[Comment]:
    """Return the comments on a version (0: on the model itself), or on all, oldest first."""
    query = select(model_comments).where(c.model == model)
    if number is not None:
        query = query.where(c.number == number)
    rows = conn.execute(query.order_by(c.at, c.id))
    return [msgspec.convert(row, Comment, from_attributes=True) for row in rows]


def get_comment(conn: Connection, comment: str) -> Comment:
    """Return a comment.

    Raises:
        NotFound: If there is none of this id.
    """
    row = conn.execute(select(model_comments).where(c.id == comment)).one_or_none()
    if row is None:
        raise NotFound(f"no comment {comment!r}")
    return msgspec.convert(row, Comment, from_attributes=True)


def edit_comment(conn: Connection, comment: str, text: str, at: datetime) -> None:
    """Change what a comment says."""
    conn.execute(update(model_comments).where(c.id == comment).values(text=text, edited_at=at))


def drop_comment(conn: Connection, comment: str) -> None:
    """Remove a comment."""
    conn.execute(delete(model_comments).where(c.id == comment))
