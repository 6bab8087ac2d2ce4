"""The only SQL about reports and saved views."""

import msgspec
from sqlalchemy import Connection, Select, delete, insert, select, update

from setpoint.errors import NotFound
from setpoint.reports.entities import Report, SavedView
from setpoint.reports.tables import reports as r
from setpoint.reports.tables import saved_views as v


def get(conn: Connection, report: str) -> Report:
    """Read one report.

    Raises:
        NotFound: If there is none with this id.
    """
    found = _reports(conn, select(r).where(r.c.id == report))
    if not found:
        raise NotFound(f"no report {report!r}", hint="see the page Reports for those there are")
    return found[0]


def newest(conn: Connection, limit: int) -> list[Report]:
    """Return reports, those changed last first."""
    return _reports(conn, select(r).order_by(r.c.updated_at.desc(), r.c.id.desc()).limit(limit))


def add(conn: Connection, report: Report) -> None:
    conn.execute(insert(r).values(msgspec.structs.asdict(report)))


def replace(conn: Connection, report: Report, *, was: int) -> bool:
    """Write a new edition of a report; False if edition `was` is no longer the newest."""
    changed = conn.execute(
        update(r)
        .where(r.c.id == report.id, r.c.edition == was)
        .values(msgspec.structs.asdict(report))
    )
    return bool(changed.rowcount)


def remove(conn: Connection, report: str) -> None:
    conn.execute(delete(r).where(r.c.id == report))


def views(conn: Connection) -> list[SavedView]:
    """Return all views by name."""
    rows = conn.execute(select(v).order_by(v.c.name))
    return [msgspec.convert(row, SavedView, from_attributes=True) for row in rows]


def put_view(conn: Connection, view: SavedView) -> None:
    """Write a view over what had its name."""
    values = msgspec.structs.asdict(view)
    if not conn.execute(update(v).where(v.c.name == view.name).values(values)).rowcount:
        conn.execute(insert(v).values(values))


def remove_view(conn: Connection, name: str) -> bool:
    """Remove a view; False if there is none of this name."""
    return bool(conn.execute(delete(v).where(v.c.name == name)).rowcount)


def _reports(conn: Connection, query: Select[tuple[object, ...]]) -> list[Report]:
    return [msgspec.convert(row, Report, from_attributes=True) for row in conn.execute(query)]
