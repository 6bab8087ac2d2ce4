"""The append-only record of everything that changed: audit, lineage and live pages read it."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from setpoint.core.operations import Context
from setpoint.events.entities import Event
from setpoint.events.tables import event_outbox, events


def record(ctx: Context, kind: str, subject: str, **detail: Any) -> None:
    """Append one event in the caller's transaction, so that it exists iff the change does.

    Args:
        ctx: The running operation; supplies the actor and the time.
        kind: Past tense, ``noun.verb``: ``release.promoted``.
        subject: What it happened to: ``model:flights-late``, ``version:flights-late/3``,
            ``release:rel_01J…``, ``alarm:alm_01J…``, ``run:run_01J…``, ``dataset:flights/12``.
        detail: JSON-able facts that a reader needs and cannot derive.
    """
    row = {"at": ctx.now, "actor": ctx.actor, "kind": kind, "subject": subject, "detail": detail}
    seq = ctx.conn.execute(insert(events).values(row).returning(events.c.seq)).scalar_one()
    ctx.conn.execute(insert(event_outbox).values(seq=seq))


def waiting(conn: Connection) -> bool:
    """Tell whether something is in the outbox."""
    return conn.execute(select(event_outbox.c.seq).limit(1)).one_or_none() is not None


def take(conn: Connection, *, limit: int) -> list[Event]:
    """Take events out of the outbox, oldest first; they are there again if the caller rolls back.

    Two that take at once get different events, or wait for one another.
    """
    oldest = select(event_outbox.c.seq).order_by(event_outbox.c.seq).limit(limit)
    if conn.dialect.name == "postgresql":
        oldest = oldest.with_for_update(skip_locked=True)
    taken = [seq for (seq,) in conn.execute(oldest)]
    if not taken:
        return []
    conn.execute(delete(event_outbox).where(event_outbox.c.seq.in_(taken)))
    query = select(events).where(events.c.seq.in_(taken)).order_by(events.c.seq)
    return [_entity(row) for row in conn.execute(query)]


def since(
    conn: Connection,
    *,
    after: int = 0,
    subject: str | None = None,
    kind: str | None = None,
    limit: int = 100,
) -> list[Event]:
    """Return events with `seq` > `after`, oldest first; `subject` and `kind` match by prefix."""
    query = select(events).where(events.c.seq > after)
    if subject:
        query = query.where(events.c.subject.startswith(subject, autoescape=True))
    if kind:
        query = query.where(events.c.kind.startswith(kind, autoescape=True))
    return [_entity(row) for row in conn.execute(query.order_by(events.c.seq).limit(limit))]


def numbered(conn: Connection, numbers: Collection[int]) -> list[Event]:
    """Return those of the events with these numbers that are there, oldest first."""
    query = select(events).where(events.c.seq.in_(numbers)).order_by(events.c.seq)
    return [_entity(row) for row in conn.execute(query)]


def passed_over(conn: Connection, after: int, to: int) -> set[int]:
    """Return the numbers above `after` and up to `to` that no event has, or none yet."""
    within = select(events.c.seq).where(events.c.seq > after, events.c.seq <= to)
    return set(range(max(after, 0) + 1, to + 1)) - set(conn.scalars(within))


def newest(conn: Connection, subject: str, kind: str, *, limit: int = 1) -> list[Event]:
    """Return the newest events of exactly this subject and kind, newest first."""
    query = select(events).where(events.c.subject == subject, events.c.kind == kind)
    return [_entity(row) for row in conn.execute(query.order_by(events.c.seq.desc()).limit(limit))]


def latest(
    conn: Connection,
    *,
    subject: str | None = None,
    kind: str | None = None,
    limit: int = 100,
) -> list[Event]:
    """Return the newest events, newest first; `subject` and `kind` match by prefix."""
    query = select(events)
    if subject:
        query = query.where(events.c.subject.startswith(subject, autoescape=True))
    if kind:
        query = query.where(events.c.kind.startswith(kind, autoescape=True))
    return [_entity(row) for row in conn.execute(query.order_by(events.c.seq.desc()).limit(limit))]


def head(conn: Connection) -> int:
    """Return the newest event's number, 0 where there is none."""
    return int(conn.execute(_HEAD).scalar_one())


_HEAD = select(func.coalesce(func.max(events.c.seq), 0))


def _entity(row: Any) -> Event:
    return Event(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        kind=row.kind,
        subject=row.subject,
        detail=row.detail,
    )
