"""All runs that a search finds, without reading them: to count, change or skip many."""

import msgspec
from sqlalchemy import Connection, Select, select

from setpoint.runs.commands import SearchRuns
from setpoint.runs.store.search import Search
from setpoint.runs.tables import runs as r


def matching(conn: Connection, cmd: SearchRuns) -> Select[tuple[int]]:
    """Return a query for the keys of all runs that a command asks for, of every page."""
    return Search(conn, cmd).all()


def ids(conn: Connection, cmd: SearchRuns) -> list[str]:
    """Return the ids of all runs that a command asks for, of every page, in no order."""
    return list(conn.execute(select(r.c.id).where(r.c.key.in_(matching(conn, cmd)))).scalars())


def token_after(conn: Connection, cmd: SearchRuns, runs: int) -> str:
    """Return the token of the page that begins after so many runs; empty if there are no more."""
    return Search(conn, msgspec.structs.replace(cmd, limit=runs, token="")).page()[1]
