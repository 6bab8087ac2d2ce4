"""Merging what lies loose in the tail into chunks: sorted, compressed, not overlapping.

It happens in the transactions that write, of about as many points as they write, so that none
becomes slow and all keep up; in a transaction of its own for runs that ended or were killed. A
crash leaves nothing half done.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, or_, select, update

from setpoint.runs import columns
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Status
from setpoint.runs.store.pairs import Pair, among, boxes
from setpoint.runs.tables import run_metrics as m
from setpoint.runs.tables import runs as r
from setpoint.runs.tables import series_chunks as c
from setpoint.runs.tables import series_tail as t

CHUNK = 4_096  #: points, at most
_LOOSE_POINTS = CHUNK  #: in the tail of a series: as many fill a chunk, which is packed once
_LOOSE_ROWS = 256  #: too
_SMALL = 32  #: points: fewer, in one row, are not worth a chunk
_PACE = 1.5  #: points merged for each that is written, so that what is behind catches up
_BATCH = 1_000  #: pairs a statement

_BOUNDS: tuple[ColumnElement[Any], ...] = (
    c.c.run_key,
    c.c.name_id,
    c.c.id,
    c.c.count.label("size"),
    c.c.first_step,
    c.c.first_at,
    c.c.last_step,
    c.c.last_at,
)
# Statements that run in every transaction are made once: making one takes as long as running it.
_DUE = (
    select(m.c.run_key, m.c.name_id, m.c.loose_points)
    .where(
        m.c.run_key.in_(bindparam("runs", expanding=True)),
        m.c.name_id.in_(bindparam("names", expanding=True)),
        or_(m.c.loose_points >= _LOOSE_POINTS, m.c.loose_rows >= _LOOSE_ROWS),
    )
    .order_by(m.c.loose_points.desc())
)
_BELOW = (
    select(*_BOUNDS)
    .where(
        c.c.run_key == bindparam("run"),
        c.c.name_id == bindparam("name"),
        c.c.last_step <= bindparam("step"),
    )
    .order_by(c.c.last_step.desc(), c.c.last_at.desc())
    .limit(1)
)
_ARRIVED = (t.c.run_key, t.c.name_id, t.c.id)
_CLEARED = (
    update(m)
    .where(m.c.run_key == bindparam("run"), m.c.name_id == bindparam("name"))
    .values(loose_rows=0, loose_points=0, count=m.c.count - bindparam("again"))
)
_MERGED = delete(t).where(
    t.c.run_key == bindparam("run"),
    t.c.name_id == bindparam("name"),
    t.c.id <= bindparam("arrived"),
)


def due(conn: Connection, written: Mapping[Pair, int]) -> list[Pair]:
    """Return those of the series just written to that have more in the tail than they should.

    Args:
        conn: The transaction that wrote.
        written: How many points, by series. About as many are merged, so that its time is in
            proportion to what it does.
    """
    room = _PACE * sum(written.values())
    found: list[Pair] = []
    for runs, names in boxes(written):
        for run, name, points in conn.execute(_DUE, {"runs": runs, "names": names}).all():
            if room > 0:
                found.append((run, name))
                room -= points
    return found


def loose(conn: Connection, run: int) -> list[Pair]:
    """Return the series of a run that are worth being merged once it has ended."""
    worth = or_(m.c.loose_rows > 1, m.c.loose_points >= _SMALL)
    query = select(m.c.run_key, m.c.name_id).where(m.c.run_key == run, worth)
    return [(key, name) for key, name in conn.execute(query)]


def forgotten(conn: Connection, before: int) -> list[int]:
    """Return runs that go on, with series in the tail that ended before then, microseconds."""
    idle = select(m.c.run_key).where(m.c.run_key == r.c.key, m.c.loose_rows > 1, m.c.at < before)
    return list(
        conn.execute(
            select(r.c.key).where(r.c.status == Status.RUNNING, idle.exists()).order_by(r.c.key)
        ).scalars()
    )


def merge(conn: Connection, pairs: Sequence[Pair]) -> None:
    """Merge the tails of series into their chunks; the caller holds the runs' lock."""
    for start in range(0, len(pairs), _BATCH):
        tails = _tails(conn, pairs[start : start + _BATCH])
        if tails:
            _merge(conn, tails)


_Tails = dict[Pair, list[tuple[int, Columns]]]


def _tails(conn: Connection, pairs: Sequence[Pair]) -> _Tails:
    found: _Tails = {}
    for here in among(pairs, t.c.run_key, t.c.name_id):
        query = select(t.c.run_key, t.c.name_id, t.c.id, t.c.points).where(here)
        # In the order of the index: any other would sort the points' bytes.
        for run, name, number, points in conn.execute(query.order_by(*_ARRIVED)):
            found.setdefault((run, name), []).append((number, columns.unloose(points)))
    return found


def _merge(conn: Connection, tails: _Tails) -> None:
    new = {pair: columns.joined([points for _, points in tail]) for pair, tail in tails.items()}
    touched = _touched(conn, new)
    numbers = [chunk.id for chunks in touched.values() for chunk in chunks]
    query = select(c.c.id, c.c.points).where(c.c.id.in_(numbers))
    held = {number: columns.unpack(points) for number, points in conn.execute(query)}
    chunks: list[dict[str, Any]] = []
    done: list[dict[str, int]] = []
    for pair, points in new.items():
        old = [held[chunk.id] for chunk in touched[pair]]
        merged = columns.joined([*old, points])
        written = sum(part.size for part in old) + sum(part.size for _, part in tails[pair])
        arrived = tails[pair][-1][0]
        chunks += [_chunk(pair, part, arrived) for part in _pieces(merged)]
        again = written - merged.size
        done.append({"run": pair[0], "name": pair[1], "arrived": arrived, "again": again})
    if numbers:
        conn.execute(delete(c).where(c.c.id.in_(numbers)))
    conn.execute(insert(c), chunks)
    conn.execute(_MERGED, [{k: one[k] for k in ("run", "name", "arrived")} for one in done])
    conn.execute(_CLEARED, [{k: one[k] for k in ("run", "name", "again")} for one in done])


def _pieces(points: Columns) -> list[Columns]:
    count = max(1, -(-points.size // CHUNK))
    edges = np.linspace(0, points.size, count + 1).astype(np.int64).tolist()
    return [points.only(slice(left, right)) for left, right in pairwise(edges)]


def _touched(conn: Connection, new: dict[Pair, Columns]) -> dict[Pair, list[Any]]:
    """Return the chunks that new points fall into, or that are small enough to take them."""
    lowest = min(int(points.steps[0]) for points in new.values())
    found: dict[Pair, list[Any]] = {pair: [] for pair in new}
    for here in among(new, c.c.run_key, c.c.name_id):
        query = select(*_BOUNDS).where(here, c.c.last_step >= lowest)
        for chunk in conn.execute(query.order_by(c.c.last_step, c.c.last_at)):
            pair = (chunk.run_key, chunk.name_id)
            points = new[pair]
            if not _before(chunk, points) and (chunk.first_step, chunk.first_at) <= (
                points.steps[-1],
                points.at[-1],
            ):
                found[pair].append(chunk)
    for pair, points in new.items():
        if points.size < CHUNK and not found[pair]:
            place = {"run": pair[0], "name": pair[1], "step": int(points.steps[0])}
            below = conn.execute(_BELOW, place).one_or_none()
            if below and _before(below, points) and below.size + points.size <= CHUNK:
                found[pair] = [below]
    return found


def _before(chunk: Any, points: Columns) -> bool:
    return bool((chunk.last_step, chunk.last_at) < (points.steps[0], points.at[0]))


def _chunk(pair: Pair, points: Columns, arrived: int) -> dict[str, Any]:
    steps, at, values = points
    return {
        "run_key": pair[0],
        "name_id": pair[1],
        "count": points.size,
        "first_step": int(steps[0]),
        "last_step": int(steps[-1]),
        "first_at": int(at[0]),
        "last_at": int(at[-1]),
        "first": _null(float(values[0])),
        "last": _null(float(values[-1])),
        "low": _null(float(np.fmin.reduce(values))),
        "high": _null(float(np.fmax.reduce(values))),
        "arrived": arrived,
        "points": columns.pack(points),
    }


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value
