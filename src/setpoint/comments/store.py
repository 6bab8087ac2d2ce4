"""The only SQL about comments. None opens or commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Select, delete, func, insert, select, update

from setpoint.comments.entities import Comment
from setpoint.comments.tables import comment_mentions, comments
from setpoint.errors import NotFound

c, m = comments.c, comment_mentions.c

_BATCH = 500  #: subjects in one statement


def add(conn: Connection, comment: Comment, mentioned: Iterable[str]) -> None:
    """Insert a comment, and whom it mentions."""
    conn.execute(insert(comments).values(msgspec.structs.asdict(comment)))
    _mention(conn, comment.id, mentioned)


def of(conn: Connection, subject: str, under: str = "") -> list[Comment]:
    """Return what was said about a subject, oldest first; with `under`, of those beginning so."""
    about = c.subject == subject
    if under:
        about |= c.subject.startswith(under, autoescape=True)
    return _all(conn, select(comments).where(about).order_by(c.at, c.id))


def mentioning(conn: Connection, person: str, limit: int) -> list[Comment]:
    """Return the comments that mention a person, newest first; not their own."""
    ids = select(m.comment).where(m.person == person)
    query = select(comments).where(c.id.in_(ids), c.actor != person)
    return _all(conn, query.order_by(c.at.desc(), c.id.desc()).limit(limit))


def among(conn: Connection, ids: Sequence[str]) -> dict[str, Comment]:
    """Return those of some comments that are still there, by id."""
    return {each.id: each for each in _all(conn, select(comments).where(c.id.in_(ids)))}


def get(conn: Connection, comment: str) -> Comment:
    """Return a comment.

    Raises:
        NotFound: If there is none of this id.
    """
    found = among(conn, [comment])
    if comment not in found:
        raise NotFound(f"no comment {comment!r}", hint="whoever wrote it may have taken it back")
    return found[comment]


def edit(conn: Connection, comment: str, text: str, mentioned: Iterable[str], at: datetime) -> None:
    """Change what a comment says, and whom it mentions."""
    conn.execute(update(comments).where(c.id == comment).values(text=text, edited_at=at))
    conn.execute(delete(comment_mentions).where(m.comment == comment))
    _mention(conn, comment, mentioned)


def drop(conn: Connection, comment: str) -> None:
    """Remove a comment; whom it mentioned goes with it."""
    conn.execute(delete(comments).where(c.id == comment))


def forget(conn: Connection, subjects: Sequence[str], under: str = "") -> None:
    """Remove what was said about subjects that go, and about those that begin with `under`."""
    for start in range(0, len(subjects), _BATCH):
        conn.execute(delete(comments).where(c.subject.in_(subjects[start : start + _BATCH])))
    if under:
        conn.execute(delete(comments).where(c.subject.startswith(under, autoescape=True)))


def move(conn: Connection, was: str, new: str, *, under: bool = False) -> None:
    """Let what was said about a subject be said of another; `under`: of all that begin so."""
    its = c.subject.startswith(was, autoescape=True) if under else c.subject == was
    renamed = new + func.substr(c.subject, len(was) + 1)
    conn.execute(update(comments).where(its).values(subject=renamed))


def _mention(conn: Connection, comment: str, mentioned: Iterable[str]) -> None:
    rows = [{"comment": comment, "person": person} for person in mentioned]
    if rows:
        conn.execute(insert(comment_mentions), rows)


def _all(conn: Connection, query: Select[tuple[object, ...]]) -> list[Comment]:
    return [msgspec.convert(row, Comment, from_attributes=True) for row in conn.execute(query)]
