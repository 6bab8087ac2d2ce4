"""The only SQL about graphs in force."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from setpoint.control.graphs.entities import AppliedGraph
from setpoint.control.graphs.tables import graphs


def applied(conn: Connection, model: str) -> AppliedGraph | None:
    row = conn.execute(select(graphs).where(graphs.c.model == model)).one_or_none()
    return None if row is None else _entity(row)


def all_applied(conn: Connection) -> list[AppliedGraph]:
    return [_entity(row) for row in conn.execute(select(graphs).order_by(graphs.c.model))]


def apply(conn: Connection, graph: AppliedGraph) -> None:
    """Put a graph in force, in place of the one there is."""
    conn.execute(delete(graphs).where(graphs.c.model == graph.model))
    conn.execute(insert(graphs).values(msgspec.structs.asdict(graph)))


def note(conn: Connection, model: str, *, tried: str, version: int | None, problem: str) -> None:
    """Keep what was made of a graph last, or could not be and why: it is not tried again."""
    values = {"tried": tried, "version": version, "problem": problem}
    conn.execute(update(graphs).where(graphs.c.model == model).values(values))


def _entity(row: Row[Any]) -> AppliedGraph:
    return msgspec.convert(row, AppliedGraph, from_attributes=True)
