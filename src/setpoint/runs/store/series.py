"""All SQL about points. A series is what one run logged under one name, by their numbers.

Points come into the tail, one row a batch; when a series has many there, they are merged into
chunks. Both happen in the transaction that writes, so a reader sees every point once.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, or_, select, tuple_

from setpoint.db.upsert import upsert
from setpoint.runs import columns
from setpoint.runs.columns import Columns, Summary
from setpoint.runs.entities import Series
from setpoint.runs.store import merging
from setpoint.runs.store.pairs import Pair, among
from setpoint.runs.tables import run_metrics as m
from setpoint.runs.tables import series_chunks as c
from setpoint.runs.tables import series_tail as t


def write(conn: Connection, batches: Mapping[Pair, Sequence[Series]]) -> None:
    """Add points to series; the caller holds the runs' lock."""
    joined = {pair: columns.end_to_end(parts) for pair, parts in batches.items()}
    new = {pair: points for pair, points in joined.items() if len(points)}
    if not new:
        return
    tails = [
        {"run_key": run, "name_id": name, "points": columns.loose(points)}
        for (run, name), points in new.items()
    ]
    sums = columns.summaries(list(new.values()))
    metrics = [
        {"run_key": run, "name_id": name, **_row(found)}
        for (run, name), found in zip(new, sums, strict=True)
    ]
    conn.execute(insert(t), tails)
    upsert(conn, m, metrics, update=_merged)
    merging.merge(conn, merging.due(conn, {pair: len(points) for pair, points in new.items()}))


def _row(found: Summary) -> dict[str, Any]:
    return {
        "value": _null(found.value),
        "step": found.step,
        "at": found.at,
        "low": _null(found.low),
        "high": _null(found.high),
        "count": found.points,
        "loose_rows": 1,
        "loose_points": found.points,
    }


def _merged(new: Any) -> dict[str, Any]:
    """Return what a metric's row becomes when a batch is added to it."""
    later = tuple_(new.step, new.at) >= tuple_(m.c.step, m.c.at)
    return {
        "value": case((later, new.value), else_=m.c.value),
        "step": case((later, new.step), else_=m.c.step),
        "at": case((later, new.at), else_=m.c.at),
        "low": case((or_(m.c.low.is_(None), new.low < m.c.low), new.low), else_=m.c.low),
        "high": case((or_(m.c.high.is_(None), new.high > m.c.high), new.high), else_=m.c.high),
        "count": m.c.count + new.count,
        "loose_rows": m.c.loose_rows + 1,
        "loose_points": m.c.loose_points + new.loose_points,
    }


def read(
    conn: Connection, pair: Pair, first_step: int | None = None, last_step: int | None = None
) -> Columns:
    """Return the points of a series by (step, at), each once."""
    return read_many(conn, [pair], first_step, last_step).get(pair, columns.EMPTY)


def read_many(
    conn: Connection,
    pairs: Sequence[Pair],
    first_step: int | None = None,
    last_step: int | None = None,
) -> dict[Pair, Columns]:
    """Return the points of many series, each by (step, at); those without any are left out."""
    parts: dict[Pair, list[Columns]] = {}
    for here in among(pairs, c.c.run_key, c.c.name_id):
        packed = select(c.c.run_key, c.c.name_id, c.c.points).where(here)
        if first_step is not None:
            packed = packed.where(c.c.last_step >= first_step)
        if last_step is not None:
            packed = packed.where(c.c.first_step <= last_step)
        order = (c.c.run_key, c.c.name_id, c.c.last_step, c.c.last_at)
        for run, name, points in conn.execute(packed.order_by(*order)):
            parts.setdefault((run, name), []).append(columns.unpack(points))
    for here in among(pairs, t.c.run_key, t.c.name_id):
        query = select(t.c.run_key, t.c.name_id, t.c.points).where(here)
        for run, name, points in conn.execute(query.order_by(t.c.id)):
            parts.setdefault((run, name), []).append(columns.unloose(points))
    whole = {pair: columns.joined(found) for pair, found in parts.items()}
    return {pair: columns.between(points, first_step, last_step) for pair, points in whole.items()}


def stretches(conn: Connection, pairs: Sequence[Pair]) -> dict[Pair, list[Any]]:
    """Return the summaries of chunks, in order, without their points."""
    found: dict[Pair, list[Any]] = {}
    wanted = [column for column in c.c if column.name != "points"]
    for here in among(pairs, c.c.run_key, c.c.name_id):
        query = select(*wanted).where(here)
        for row in conn.execute(query.order_by(c.c.last_step, c.c.last_at)):
            found.setdefault((row.run_key, row.name_id), []).append(row)
    return found


def since(
    conn: Connection, run: int, after: int, names: Sequence[int] | None
) -> dict[int, list[Columns]]:
    """Return what arrived after a cursor, by name id; a chunk that holds some of it is whole."""
    found: dict[int, list[Columns]] = {}
    packed = select(c.c.name_id, c.c.points).where(c.c.run_key == run, c.c.arrived > after)
    tail = select(t.c.name_id, t.c.points).where(t.c.run_key == run, t.c.id > after)
    if names is not None:
        packed = packed.where(c.c.name_id.in_(names))
        tail = tail.where(t.c.name_id.in_(names))
    for name, points in conn.execute(packed):
        found.setdefault(name, []).append(columns.unpack(points))
    for name, points in conn.execute(tail):
        found.setdefault(name, []).append(columns.unloose(points))
    return found


def cursor(conn: Connection, run: int) -> int:
    """Return a run's newest place in the tail, also where that is merged already."""
    tail = select(func.coalesce(func.max(t.c.id), 0)).where(t.c.run_key == run)
    packed = select(func.coalesce(func.max(c.c.arrived), 0)).where(c.c.run_key == run)
    return max(int(conn.execute(each).scalar_one()) for each in (tail, packed))


def latest(conn: Connection, runs: Sequence[int]) -> list[Any]:
    """Return (run key, name id, value, step, at, low, high, count) of every series of runs."""
    query = select(
        m.c.run_key, m.c.name_id, m.c.value, m.c.step, m.c.at, m.c.low, m.c.high, m.c.count
    )
    return list(conn.execute(query.where(m.c.run_key.in_(runs))).all())  # not a row at a time


def counts(conn: Connection, runs: Sequence[int], names: Sequence[int]) -> dict[Pair, int]:
    """Return how many points the series of these runs and names have, where there are any."""
    query = select(m.c.run_key, m.c.name_id, m.c.count).where(m.c.run_key.in_(runs))
    rows = conn.execute(query.where(m.c.name_id.in_(names)))
    return {(run, name): count for run, name, count in rows}


def held(conn: Connection, runs: Sequence[int]) -> tuple[int, int]:
    """Return how many points runs have, and how many bytes they take."""
    points = conn.execute(select(func.sum(m.c.count)).where(m.c.run_key.in_(runs))).scalar()
    size = 0
    for table in (t, c):
        query = select(func.sum(func.length(table.c.points))).where(table.c.run_key.in_(runs))
        size += int(conn.execute(query).scalar() or 0)
    return int(points or 0), size


def drop(conn: Connection, runs: Sequence[int]) -> tuple[int, int]:
    """Delete every point of runs; return what they `held`."""
    freed = held(conn, runs)
    for table in (t, c, m):
        conn.execute(delete(table).where(table.c.run_key.in_(runs)))
    return freed


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value
