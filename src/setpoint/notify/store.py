"""The only SQL about channels and deliveries. None opens or commits."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from setpoint.errors import NotFound
from setpoint.notify.entities import Attempt, Channel, Delivery, State
from setpoint.notify.tables import channels, deliveries, delivery_attempts

c, d, a = channels.c, deliveries.c, delivery_attempts.c


def add(conn: Connection, channel: Channel, secret: str) -> None:
    """Insert a channel and its secret."""
    row = msgspec.structs.asdict(channel)
    del row["signed"]
    conn.execute(insert(channels).values(row | {"secret": secret}))


def change(conn: Connection, channel: str, **values: Any) -> None:
    """Set columns of a channel."""
    conn.execute(update(channels).where(c.id == channel).values(values))


def drop(conn: Connection, channel: str) -> None:
    """Remove a channel with everything that was or was to be sent to it."""
    its = select(d.id).where(d.channel == channel)
    conn.execute(delete(delivery_attempts).where(a.delivery.in_(its)))
    conn.execute(delete(deliveries).where(d.channel == channel))
    conn.execute(delete(channels).where(c.id == channel))


def ls(conn: Connection) -> list[Channel]:
    """Return all channels, the newest first."""
    query = select(channels).order_by(c.created_at.desc(), c.id.desc())
    return [_channel(row) for row in conn.execute(query)]


def get(conn: Connection, channel: str) -> Channel:
    """Return a channel by its id, or by its name where only one has it.

    Raises:
        NotFound: If there is none.
    """
    row = conn.execute(select(channels).where(c.id == channel)).one_or_none()
    if row is None:
        named = conn.execute(select(channels).where(c.name == channel)).all()
        row = named[0] if len(named) == 1 else None
    if row is None:
        raise NotFound(f"no channel {channel!r}", hint="list them with: setpoint notify ls")
    return _channel(row)


def secret(conn: Connection, channel: str) -> str:
    """Return the secret of a channel, empty if it has none: for who sends, nobody else."""
    found: str = conn.execute(select(c.secret).where(c.id == channel)).scalar_one()
    return found


def promise(conn: Connection, delivery: Delivery) -> None:
    """Insert a delivery that waits for its first attempt."""
    conn.execute(insert(deliveries).values(msgspec.structs.asdict(delivery)))


def due(conn: Connection, now: datetime) -> list[str]:
    """Return the channels that a delivery is due to."""
    waiting = select(d.channel).join(channels, c.id == d.channel)
    query = waiting.where(d.state == State.WAITING, d.next_at <= now, c.enabled).distinct()
    return sorted(conn.execute(query).scalars())


def claim(conn: Connection, channel: str, now: datetime, *, until: datetime) -> Delivery | None:
    """Return the delivery to a channel that is due longest, and keep others from it.

    Whoever claims commits before anything is sent. If it is killed, the delivery is due
    again at `until`.
    """
    query = (
        select(deliveries)
        .where(d.state == State.WAITING, d.next_at <= now, d.channel == channel)
        .order_by(d.next_at, d.seq, d.id)
        .limit(1)
    )
    if conn.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    conn.execute(update(deliveries).where(d.id == row.id).values(next_at=until))
    return _delivery(row)


def note(conn: Connection, attempt: Attempt) -> None:
    """Insert an attempt."""
    conn.execute(insert(delivery_attempts).values(msgspec.structs.asdict(attempt)))


def settle(
    conn: Connection,
    delivery: str,
    *,
    state: State,
    attempts: int,
    next_at: datetime,
    ended_at: datetime | None,
) -> bool:
    """Write what an attempt has come to; tell whether the delivery is still there."""
    values = {"state": state, "attempts": attempts, "next_at": next_at, "ended_at": ended_at}
    return conn.execute(update(deliveries).where(d.id == delivery).values(values)).rowcount == 1


def get_delivery(conn: Connection, delivery: str) -> Delivery:
    """Return a delivery.

    Raises:
        NotFound: If there is none of this id, or it was too long ago.
    """
    row = conn.execute(select(deliveries).where(d.id == delivery)).one_or_none()
    if row is None:
        raise NotFound(f"no delivery {delivery!r}", hint="list them with: setpoint notify log")
    return _delivery(row)


def log(
    conn: Connection, *, channel: str | None, state: State | None, limit: int
) -> list[Delivery]:
    """Return deliveries, the newest first."""
    query = select(deliveries)
    if channel is not None:
        query = query.where(d.channel == channel)
    if state is not None:
        query = query.where(d.state == state)
    rows = conn.execute(query.order_by(d.created_at.desc(), d.id.desc()).limit(limit))
    return [_delivery(row) for row in rows]


def attempts(conn: Connection, delivery: str) -> list[Attempt]:
    """Return the attempts at a delivery, oldest first."""
    query = select(delivery_attempts).where(a.delivery == delivery).order_by(a.number)
    rows = conn.execute(query)
    return [msgspec.convert(row, Attempt, from_attributes=True) for row in rows]


def forget(conn: Connection, now: datetime, older: timedelta) -> int:
    """Delete deliveries that ended longer ago than `older`; return how many."""
    old = select(d.id).where(d.state != State.WAITING, d.ended_at < now - older)
    conn.execute(delete(delivery_attempts).where(a.delivery.in_(old)))
    done = conn.execute(
        delete(deliveries).where(d.state != State.WAITING, d.ended_at < now - older)
    )
    return done.rowcount


def _channel(row: Row[Any]) -> Channel:
    values = {name: getattr(row, name) for name in Channel.__struct_fields__ if name != "signed"}
    return msgspec.convert(values | {"signed": bool(row.secret)}, Channel)


def _delivery(row: Row[Any]) -> Delivery:
    return msgspec.convert(row, Delivery, from_attributes=True)
