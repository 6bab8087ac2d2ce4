"""What pages ask about many runs at once: how many, in which groups, what their metrics are."""

from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, Subquery, and_, case, func, select

from setpoint.runs import finding, naming
from setpoint.runs.commands import SearchRuns
from setpoint.runs.tables import experiments as x
from setpoint.runs.tables import run_metrics as m
from setpoint.runs.tables import run_values as v
from setpoint.runs.tables import runs as r
from setpoint.runs.values import Kind

GROUPS = 200  #: the largest that are listed
_KINDS = {"params": Kind.PARAM, "tags": Kind.TAG}
#: Attributes that runs can be grouped by, as filters spell them.
ATTRIBUTES: dict[str, ColumnElement[Any]] = {
    "status": r.c.status,
    "user_id": r.c.actor,
    "run_name": r.c.name,
    "experiment": select(x.c.name).where(x.c.id == r.c.experiment_id).scalar_subquery(),
}


class Measured(Struct, frozen=True, kw_only=True):
    """One metric over the runs of a group: its last values."""

    mean: float
    least: float
    most: float


class Group(Struct, frozen=True, kw_only=True):
    """Runs that share a value."""

    value: str | None  #: None: of those that have none
    runs: int
    metrics: dict[str, Measured]


def count(conn: Connection, cmd: SearchRuns) -> int:
    """Return how many runs a search finds, over all its pages."""
    found = finding.matching(conn, cmd).subquery()
    return int(conn.execute(select(func.count()).select_from(found)).scalar_one())


def groups(conn: Connection, cmd: SearchRuns, by: str, metrics: list[str]) -> list[Group]:
    """Return the runs of a search by the value of a column, the largest group first.

    Args:
        conn: An open transaction.
        cmd: Which runs.
        by: ``params.…``, ``tags.…`` or one of `ATTRIBUTES`.
        metrics: Whose values are told of each group.
    """
    found = finding.matching(conn, cmd).subquery()
    keyed = select(r.c.key.label("key"), _value(by).label("value"))
    among = keyed.where(r.c.key.in_(select(found.c.key)))
    keys = _joined(conn, among, by).subquery()
    largest = (
        select(keys.c.value, func.count().label("runs"))
        .group_by(keys.c.value)
        .order_by(func.count().desc(), keys.c.value)
        .limit(GROUPS)
    )
    rows = conn.execute(largest).all()
    measured = _measured(conn, keys, metrics)
    return [Group(value=value, runs=runs, metrics=measured.get(value, {})) for value, runs in rows]


def _value(by: str) -> ColumnElement[Any]:
    if by in ATTRIBUTES:
        return ATTRIBUTES[by]
    return case((v.c.rest.is_(None), v.c.head), else_=v.c.head + v.c.rest)


def _joined(conn: Connection, query: Select[Any], by: str) -> Select[Any]:
    if by in ATTRIBUTES:
        return query
    entity, _, name = by.partition(".")
    number = naming.known(conn, [name]).get(naming.plain(name), -1)
    kind = int(_KINDS.get(entity, -1))
    on = and_(v.c.run_key == r.c.key, v.c.kind == kind, v.c.name_id == number)
    return query.outerjoin(v, on)


def _measured(
    conn: Connection, keys: Subquery, metrics: list[str]
) -> dict[str | None, dict[str, Measured]]:
    """Return by group and metric what the runs' last values are, NaN left out."""
    names = {number: name for name, number in naming.known(conn, metrics).items()}
    query = (
        select(keys.c.value, m.c.name_id, func.avg(m.c.value), func.min(m.c.value))
        .add_columns(func.max(m.c.value))
        .join(m, m.c.run_key == keys.c.key)
        .where(m.c.name_id.in_(names), m.c.value.is_not(None))
        .group_by(keys.c.value, m.c.name_id)
    )
    found: dict[str | None, dict[str, Measured]] = {}
    for value, number, mean, least, most in conn.execute(query):
        told = Measured(mean=mean, least=least, most=most)
        found.setdefault(value, {})[names[number]] = told
    return found


def of_experiments(conn: Connection) -> dict[int, tuple[int, datetime]]:
    """Return by experiment how many runs it has and when the newest began."""
    query = (
        select(r.c.experiment_id, func.count(), func.max(r.c.started_at))
        .where(r.c.lifecycle == "active")
        .group_by(r.c.experiment_id)
    )
    return {number: (runs, at) for number, runs, at in conn.execute(query)}
