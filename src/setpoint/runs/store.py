"""The only SQL about runs. Each function takes a connection; none opens or commits."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, and_, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from setpoint.errors import NotFound
from setpoint.runs.entities import Code, Point, Run, Status, Value
from setpoint.runs.tables import run_points, run_values, runs

_KINDS = {"param": "params", "tag": "tags", "input": "inputs", "artifact": "artifacts"}
_BATCH = 5_000  #: rows a statement; SQLite takes 32,766 variables


def add(conn: Connection, run: Run) -> None:
    """Insert a run; its params, tags, inputs and artifacts too."""
    columns = {name: getattr(run, name) for name in _PLAIN}
    conn.execute(insert(runs).values(columns))
    for kind, field in _KINDS.items():
        put_values(conn, run.id, kind, getattr(run, field))


_PLAIN = (
    "id",
    "experiment",
    "status",
    "started_at",
    "ended_at",
    "actor",
    "code",
    "environment",
    "error",
)


def put_values(conn: Connection, run_id: str, kind: str, values: dict[str, Any]) -> None:
    """Write values of one kind (param, tag, input, artifact), over what they were."""
    rows = [
        {"run_id": run_id, "kind": kind, "name": name, "value": value}
        for name, value in values.items()
    ]
    _upsert(conn, run_values, rows, "value")


def put_points(conn: Connection, run_id: str, points: Sequence[Point], now: datetime) -> None:
    """Write points; a later one of the same name and step wins."""
    rows = {
        (point.name, point.step): {
            "run_id": run_id,
            "name": point.name,
            "step": point.step,
            "value": None if math.isnan(point.value) else point.value,
            "at": now,
        }
        for point in points
    }
    _upsert(conn, run_points, list(rows.values()), "value", "at")


def set_status(conn: Connection, run: Run, *, was: Status) -> bool:
    """Write how a run ended, provided that it is still `was`; tell whether it was."""
    done = conn.execute(
        update(runs)
        .where(runs.c.id == run.id, runs.c.status == was)
        .values(status=run.status, ended_at=run.ended_at, error=run.error)
    )
    return done.rowcount == 1


def set_origin(conn: Connection, run_id: str, code: Code | None, environment: str | None) -> None:
    """Write which code and environment a run has; None leaves what is there."""
    found = {"code": code, "environment": environment}
    given = {name: value for name, value in found.items() if value is not None}
    if given:
        conn.execute(update(runs).where(runs.c.id == run_id).values(given))


def find(conn: Connection, run_id: str) -> Run | None:
    """Read one run, if it is there."""
    return next(iter(_entities(conn, select(runs).where(runs.c.id == run_id))), None)


def get(conn: Connection, run_id: str) -> Run:
    """Read one run.

    Raises:
        NotFound: If there is no such run.
    """
    run = find(conn, run_id)
    if run is None:
        raise NotFound(f"no run {run_id!r}", hint="list them with: setpoint runs ls")
    return run


def ls(conn: Connection, *, experiment: str | None = None, limit: int = 100) -> list[Run]:
    """Return the newest runs first."""
    query = select(runs).order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
    if experiment is not None:
        query = query.where(runs.c.experiment == experiment)
    return _entities(conn, query)


def points(conn: Connection, run_id: str, name: str, *, at_most: int = 2_000) -> list[Point]:
    """Return a metric's points by step; if there are more than `at_most`, evenly thinned.

    The first and the last point are always among them.
    """
    here = and_(run_points.c.run_id == run_id, run_points.c.name == name)
    rank = (func.row_number().over(order_by=run_points.c.step) - 1).label("rank")
    total = int(conn.execute(select(func.count()).where(here)).scalar_one())
    every = max(1, -(-total // max(at_most - 1, 1)))
    ranked = select(run_points.c.step, run_points.c.value, rank).where(here).subquery()
    query = select(ranked.c.step, ranked.c.value).order_by(ranked.c.step)
    if every > 1:
        query = query.where((ranked.c.rank % every == 0) | (ranked.c.rank == total - 1))
    return [
        Point(name=name, step=row.step, value=_number(row.value)) for row in conn.execute(query)
    ]


def _entities(conn: Connection, query: Any) -> list[Run]:
    rows = conn.execute(query).all()
    ids = [row.id for row in rows]
    values, metrics = _values(conn, ids), _latest(conn, ids)
    return [
        msgspec.convert(
            {
                **{name: getattr(row, name) for name in _PLAIN},
                **values.get(row.id, {}),
                "metrics": metrics.get(row.id, {}),
            },
            Run,
        )
        for row in rows
    ]


def _values(conn: Connection, ids: list[str]) -> dict[str, dict[str, dict[str, Value]]]:
    query = select(run_values).where(run_values.c.run_id.in_(ids))
    found: dict[str, dict[str, dict[str, Value]]] = {}
    for row in conn.execute(query.order_by(run_values.c.name)):
        kind = found.setdefault(row.run_id, {}).setdefault(_KINDS[row.kind], {})
        kind[row.name] = row.value
    return found


def _latest(conn: Connection, ids: list[str]) -> dict[str, dict[str, float]]:
    p = run_points
    last = (
        select(p.c.run_id, p.c.name, func.max(p.c.step).label("step"))
        .where(p.c.run_id.in_(ids))
        .group_by(p.c.run_id, p.c.name)
        .subquery()
    )
    same = and_(p.c.run_id == last.c.run_id, p.c.name == last.c.name, p.c.step == last.c.step)
    query = select(p.c.run_id, p.c.name, p.c.value).join(last, same).order_by(p.c.name)
    found: dict[str, dict[str, float]] = {}
    for row in conn.execute(query):
        found.setdefault(row.run_id, {})[row.name] = _number(row.value)
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _upsert(conn: Connection, table: Table, rows: Iterable[dict[str, Any]], *columns: str) -> None:
    rows = list(rows)
    make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement = make(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: statement.excluded[name] for name in columns},
    )
    for start in range(0, len(rows), _BATCH):
        conn.execute(statement, rows[start : start + _BATCH])
