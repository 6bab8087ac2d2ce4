"""What pages ask about many runs at once: how many, in which groups, what their metrics are."""

from datetime import datetime
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, select

from setpoint.runs.commands import SearchRuns
from setpoint.runs.store import finding, naming
from setpoint.runs.store.values import Kind
from setpoint.runs.tables import experiments as x
from setpoint.runs.tables import run_metrics as m
from setpoint.runs.tables import run_values as v
from setpoint.runs.tables import runs as r

Ints = NDArray[np.int64]

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
    keyed = select(r.c.key, _value(by)).where(r.c.key.in_(select(found.c.key)))
    pairs = conn.execute(_joined(conn, keyed, by).order_by(r.c.key)).all()
    if not pairs:
        return []
    keys = np.array([key for key, _ in pairs], np.int64)
    values = list(dict.fromkeys(value for _, value in pairs))
    place = {value: i for i, value in enumerate(values)}
    group = np.array([place[value] for _, value in pairs], np.int64)
    sizes = np.bincount(group, minlength=len(values))
    measured = {name: _measured(conn, name, keys, group, len(values)) for name in metrics}
    largest = sorted(range(len(values)), key=lambda i: (-int(sizes[i]), str(values[i])))[:GROUPS]
    return [
        Group(
            value=values[i],
            runs=int(sizes[i]),
            metrics={n: told[i] for n, told in measured.items() if i in told},
        )
        for i in largest
    ]


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
    conn: Connection, metric: str, keys: Ints, group: Ints, count: int
) -> dict[int, Measured]:
    """Return by group what the last values of its runs are, NaN left out.

    Args:
        conn: An open transaction.
        metric: Its name.
        keys: Of the runs, ascending.
        group: The group of each, from 0.
        count: Of groups.
    """
    number = naming.known(conn, [metric]).get(naming.plain(metric), -1)
    query = select(m.c.run_key, m.c.value).where(m.c.name_id == number, m.c.value.is_not(None))
    inside = m.c.run_key.between(int(keys[0]), int(keys[-1]))
    rows = conn.execute(query.where(inside)).all()
    if not rows:
        return {}
    runs = np.array([run for run, _ in rows], np.int64)
    values = np.array([value for _, value in rows], np.float64)
    at = np.minimum(np.searchsorted(keys, runs), keys.size - 1)
    among = keys[at] == runs
    where, values = group[at[among]], values[among]
    sizes = np.bincount(where, minlength=count)
    sums = np.bincount(where, weights=values, minlength=count)
    least, most = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(least, where, values)
    np.maximum.at(most, where, values)
    return {
        i: Measured(mean=sums[i] / sizes[i], least=least[i], most=most[i])
        for i in np.flatnonzero(sizes).tolist()
    }


def of_experiments(conn: Connection) -> dict[int, tuple[int, datetime]]:
    """Return by experiment how many runs it has and when the newest began."""
    query = (
        select(r.c.experiment_id, func.count(), func.max(r.c.started_at))
        .where(r.c.lifecycle == "active")
        .group_by(r.c.experiment_id)
    )
    return {number: (runs, at) for number, runs, at in conn.execute(query)}
