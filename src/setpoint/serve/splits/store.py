"""The SQL about tests of versions: their arms, and what each of them answered."""

import json
import math
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, and_, case, delete, func, insert, or_, select, update

from setpoint.serve.entities import ArmTally, Role, SplitArm
from setpoint.serve.tables import endpoints as e
from setpoint.serve.tables import predictions as p
from setpoint.serve.tables import split_arms as sa


def arms(conn: Connection, model: str) -> list[SplitArm]:
    """Return the arms of the test of a model by name; none: there is no test."""
    query = select(sa).where(sa.c.model == model).order_by(sa.c.name)
    return [
        SplitArm(
            name=row.name,
            version=row.version,
            spans=msgspec.json.decode(row.spans, type=list[tuple[int, int]]),
        )
        for row in conn.execute(query)
    ]


def split(conn: Connection, model: str, wanted: Sequence[SplitArm]) -> None:
    """Have exactly `wanted` be the arms of a model's test; none ends it. Servers follow."""
    if arms(conn, model) == list(wanted):
        return
    conn.execute(delete(sa).where(sa.c.model == model))
    rows = [
        {"model": model, "name": arm.name, "version": arm.version, "spans": json.dumps(arm.spans)}
        for arm in wanted
    ]
    if rows:
        conn.execute(insert(sa), rows)
    conn.execute(update(e).where(e.c.model == model).values(generation=e.c.generation + 1))


def tallies(conn: Connection, model: str) -> list[ArmTally]:
    """Return what each arm of a model's tests answered, and what release and live version did.

    The latter two since the first answer of an arm that is still kept. Reads all predictions of
    the model: a second for some millions.
    """
    mine = p.c.model == model
    query = select(func.min(p.c.at)).where(mine, p.c.role == Role.ARM.value)
    since = conn.execute(query).scalar()
    if since is None:
        return []
    beside = and_(p.c.role.in_((Role.LIVE.value, Role.CANARY.value)), p.c.at >= since)
    name = case((p.c.role == Role.ARM.value, p.c.arm), else_=p.c.role).label("name")
    error = (p.c.score - p.c.label) * (p.c.score - p.c.label)
    both = case((p.c.score.is_not(None) & p.c.label.is_not(None), error))
    rows = conn.execute(
        select(
            name,
            p.c.version,
            func.count(),
            func.count(p.c.score),
            func.count(p.c.label),
            func.avg(p.c.score),
            func.avg(p.c.label),
            func.count(both),
            func.avg(both),
            func.avg(both * both),
        )
        .where(mine, or_(p.c.role == Role.ARM.value, beside))
        .group_by(name, p.c.version)
        .order_by(name, p.c.version)
    )
    return [
        ArmTally(
            arm=row[0],
            version=row[1],
            rows=row[2],
            scored=row[3],
            labelled=row[4],
            score=row[5],
            label=row[6],
            error=row[8],
            error_sd=_sd(row[7], row[8], row[9]),
        )
        for row in rows
    ]


def _sd(count: int, mean: float | None, mean_square: float | None) -> float | None:
    """Return the sample standard deviation of numbers with these means."""
    if count < 2 or mean is None or mean_square is None:
        return None
    return math.sqrt(max(mean_square - mean * mean, 0.0) * count / (count - 1))
