"""All SQL about how long runs are kept."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, select

from setpoint.db import references
from setpoint.db.upsert import upsert
from setpoint.runs.entities import Lifecycle, RunRule, Status
from setpoint.runs.store.naming import known
from setpoint.runs.store.values import Kind
from setpoint.runs.tables import experiments as e
from setpoint.runs.tables import run_keeping as k
from setpoint.runs.tables import run_values as v
from setpoint.runs.tables import runs as r

EVERY = -1  #: stands for every experiment that has no rule of its own
_ENDED = (Status.FINISHED, Status.FAILED, Status.KILLED)
_BATCH = 500  #: ids in one statement


class Old(NamedTuple):
    """A run that may go."""

    key: int
    id: str
    parent: str | None
    status: Status
    experiment: str


def put(conn: Connection, number: int, rule: RunRule) -> None:
    """Write a rule, over the one that was."""
    row = msgspec.structs.asdict(rule) | {"experiment_id": number}
    del row["experiment"]
    upsert(conn, k, [row], update=["days", "tags", "actor", "at", "reason"])


def drop(conn: Connection, number: int) -> None:
    """Remove a rule, if it is there."""
    conn.execute(delete(k).where(k.c.experiment_id == number))


def rules(conn: Connection) -> dict[int, RunRule]:
    """Return the rules by the id of their experiment, that for all first."""
    named = select(k, e.c.name.label("experiment")).outerjoin(e, e.c.id == k.c.experiment_id)
    rows = conn.execute(named.order_by(k.c.experiment_id))
    return {row.experiment_id: msgspec.convert(row, RunRule, from_attributes=True) for row in rows}


def old(
    conn: Connection, number: int, before: datetime, tags: Sequence[str], *, own: Iterable[int]
) -> list[Old]:
    """Return the runs that a rule lets go, oldest first.

    Args:
        conn: A transaction.
        number: The experiment; `EVERY`: all but those of `own`.
        before: Runs that ended by then.
        tags: Runs that have one of these tags stay.
        own: Experiments with a rule of their own.
    """
    ended = func.coalesce(r.c.ended_at, r.c.started_at, type_=r.c.ended_at.type)
    query = (
        select(r.c.key, r.c.id, r.c.parent, r.c.status, e.c.name)
        .join(e, e.c.id == r.c.experiment_id)
        .where(r.c.lifecycle == Lifecycle.ACTIVE, r.c.status.in_(_ENDED), ended <= before)
        .where(r.c.id.not_in(references.runs_of_versions(trained=True)))
    )
    ids = list(known(conn, tags).values())
    if ids:
        kept = select(v.c.run_key).where(v.c.kind == Kind.TAG, v.c.name_id.in_(ids))
        query = query.where(r.c.key.not_in(kept))
    if number == EVERY:
        query = query.where(r.c.experiment_id.not_in([each for each in own if each != EVERY]))
    else:
        query = query.where(r.c.experiment_id == number)
    return [
        Old(key, run, parent, Status(status), name)
        for key, run, parent, status, name in conn.execute(query.order_by(ended, r.c.key))
    ]


def children(conn: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Return the runs that are nested in others and not deleted, each with its parent."""
    found: dict[str, str] = {}
    for start in range(0, len(ids), _BATCH):
        some = ids[start : start + _BATCH]
        query = select(r.c.id, r.c.parent).where(
            r.c.parent.in_(some), r.c.lifecycle == Lifecycle.ACTIVE
        )
        found.update((row.id, row.parent) for row in conn.execute(query))
    return found


def expired(conn: Connection, before: datetime) -> list[str]:
    """Return the runs under a rule that were deleted by a time."""
    ruled = set(conn.execute(select(k.c.experiment_id)).scalars())
    if not ruled:
        return []
    query = select(r.c.id).where(r.c.lifecycle == Lifecycle.DELETED, r.c.deleted_at <= before)
    if EVERY not in ruled:
        query = query.where(r.c.experiment_id.in_(ruled))
    return list(conn.execute(query.order_by(r.c.key)).scalars())
