"""The only SQL about step results."""

from datetime import datetime

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from setpoint.pipelines.tables import step_results as t


def find(conn: Connection, key: str) -> str | None:
    """Return the address of the result stored under `key`, if there is one."""
    found: str | None = conn.execute(select(t.c.address).where(t.c.key == key)).scalar_one_or_none()
    return found


def remember(
    conn: Connection, key: str, *, step: str, address: str, seconds: float, at: datetime
) -> None:
    """Store where the result of `key` lies; whoever came first wins."""
    try:
        with conn.begin_nested():
            values = {
                "key": key,
                "step": step,
                "address": address,
                "seconds": seconds,
                "at": at,
            }
            conn.execute(insert(t).values(values))
    except IntegrityError:
        pass  # another worker finished the same step: same key, same content
