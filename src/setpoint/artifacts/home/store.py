"""The one row that says which artifact store a database's files are in."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from setpoint.artifacts.home.tables import artifact_home
from setpoint.db.upsert import upsert


def read(conn: Connection) -> tuple[str, str] | None:
    """Return the content of the mark in that store, and where it is; None before the first."""
    row = conn.execute(select(artifact_home.c.mark, artifact_home.c.place)).one_or_none()
    return None if row is None else (row.mark, row.place)


def claim(conn: Connection, mark: str, place: str, now: datetime) -> None:
    """Write down which one it is, unless somebody was faster."""
    upsert(conn, artifact_home, [{"id": 1, "mark": mark, "place": place, "claimed_at": now}])


def moved(conn: Connection, place: str) -> None:
    """Write down where the same store is now."""
    conn.execute(update(artifact_home).values(place=place))
