"""All SQL about runs as a whole. Each function takes a connection; none opens or commits."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from setpoint.db.upsert import upsert
from setpoint.errors import NotFound
from setpoint.runs.entities import Code, Dataset, Lifecycle, Run, Status
from setpoint.runs.store import cards, values
from setpoint.runs.store.naming import plain
from setpoint.runs.store.values import Kind
from setpoint.runs.tables import experiments as e
from setpoint.runs.tables import runs as r

#: Rows that `entities` takes apart by place: a name looked up for every value costs as much
#: as all of reading.
LISTED = select(
    r.c.key,
    r.c.id,
    e.c.name.label("experiment"),
    r.c.experiment_id,
    r.c.name,
    r.c.parent,
    r.c.status,
    r.c.lifecycle,
    r.c.deleted_at,
    r.c.started_at,
    r.c.ended_at,
    r.c.actor,
    r.c.code,
    r.c.environment,
    r.c.error,
).join(e, e.c.id == r.c.experiment_id)
_STATUS = {each.value: each for each in Status}
_LIFECYCLE = {each.value: each for each in Lifecycle}
_HELD = (
    select(r.c.key, r.c.id, r.c.status, r.c.lifecycle)
    .where(r.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(r.c.key)
    .with_for_update(key_share=True)
)
_TEXTS = ("id", "name", "parent", "actor", "environment", "error")


def add(conn: Connection, run: Run) -> bool:
    """Insert a run with its params, tags and inputs; False where its id is taken."""
    columns: dict[str, Any] = {name: getattr(run, name) for name in _TEXTS}
    row = {name: text and plain(text) for name, text in columns.items()} | {
        "experiment_id": run.experiment_id,
        "status": run.status,
        "lifecycle": run.lifecycle,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "code": run.code,
    }
    if not upsert(conn, r, [row], on=["id"]):
        return False
    key = key_of(conn, run.id)
    values.put(conn, key, Kind.PARAM, run.params)
    values.put(conn, key, Kind.TAG, run.tags)
    values.put_datasets(conn, key, values.versions(run.inputs))
    return True


def lock(conn: Connection, ids: Sequence[str]) -> dict[str, Any]:
    """Return (key, id, status, lifecycle) of runs, which nobody else writes to until the end.

    Always in one order, or two writers of the same runs could wait for each other.
    """
    return {row.id: row for row in conn.execute(_HELD, {"ids": ids})}


def change(conn: Connection, key: int, *, was: Status | None = None, **columns: Any) -> bool:
    """Update columns of a run, provided that its status is still `was`; tell whether it was."""
    here = r.c.key == key
    done = conn.execute(
        update(r).where(here if was is None else here & (r.c.status == was)).values(columns)
    )
    return done.rowcount == 1


def set_origin(conn: Connection, key: int, code: Code | None, environment: str | None) -> None:
    """Write which code and environment a run has; None leaves what is there."""
    found = {"code": code, "environment": environment}
    given: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if given:
        change(conn, key, **given)


def find(conn: Connection, run_id: str) -> Run | None:
    """Read one run with everything on record, if it is there."""
    row = conn.execute(LISTED.where(r.c.id == run_id)).one_or_none()
    return None if row is None else entities(conn, [row], whole=True)[0]


def get(conn: Connection, run_id: str) -> Run:
    """Read one run with everything on record.

    Raises:
        NotFound: If there is no such run.
    """
    run = find(conn, run_id)
    if run is None:
        raise missing(run_id)
    return run


def missing(run_id: str) -> NotFound:
    """Return the error of a run that is not there."""
    return NotFound(f"no run {run_id!r}", hint="list them with: setpoint runs ls")


def keys(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Return the keys of runs that are there."""
    query = select(r.c.id, r.c.key).where(r.c.id.in_(ids))
    return {row.id: row.key for row in conn.execute(query)}


def key_of(conn: Connection, run_id: str) -> int:
    """Return the key of a run.

    Raises:
        NotFound: If there is no such run.
    """
    found = keys(conn, [run_id])
    if not found:
        raise missing(run_id)
    return found[run_id]


def brief(conn: Connection, run_id: str) -> Any:
    """Return a run's key and status.

    Raises:
        NotFound: If there is no such run.
    """
    row = conn.execute(select(r.c.key, r.c.status).where(r.c.id == run_id)).one_or_none()
    if row is None:
        raise missing(run_id)
    return row


def hold(conn: Connection, key: int) -> None:
    """Lock a run by its key, as `lock` does by its id."""
    conn.execute(select(r.c.key).where(r.c.key == key).with_for_update(key_share=True))


def count(conn: Connection, experiment: str | None = None) -> int:
    """Return how many runs there are, deleted ones left out."""
    query = select(func.count()).select_from(r).where(r.c.lifecycle == Lifecycle.ACTIVE)
    if experiment:
        query = query.join(e, e.c.id == r.c.experiment_id).where(e.c.name == experiment)
    return int(conn.execute(query).scalar_one())


def before(conn: Connection, run: Run) -> str | None:
    """Return the id of the run of the same experiment that finished before this one."""
    query = (
        select(r.c.id)
        .where(r.c.experiment_id == run.experiment_id, r.c.started_at < run.started_at)
        .where(r.c.status == Status.FINISHED, r.c.lifecycle == Lifecycle.ACTIVE)
        .order_by(r.c.started_at.desc(), r.c.key.desc())
        .limit(1)
    )
    return conn.execute(query).scalar_one_or_none()


def entities(
    conn: Connection, rows: Sequence[Any], *, latest: bool = False, whole: bool = False
) -> list[Run]:
    """Return runs with what they carry, in the order of the rows, by a handful of queries.

    Args:
        conn: An open transaction.
        rows: Of `LISTED`.
        latest: Whether metrics are wanted in full.
        whole: Whether everything is: metrics in full, and artifacts.
    """
    if not rows:
        return []
    kept = cards.of(conn, [row[0] for row in rows], latest=latest or whole)
    found = []
    for key, run, experiment, number, name, parent, status, lifecycle, *rest in rows:
        deleted_at, started_at, ended_at, actor, code, environment, error = rest
        card = kept[key]
        found.append(
            Run(
                id=run,
                experiment=experiment,
                experiment_id=number,
                name=name,
                parent=parent,
                status=_STATUS[status],
                lifecycle=_LIFECYCLE[lifecycle],
                deleted_at=deleted_at,
                started_at=started_at,
                ended_at=ended_at,
                actor=actor,
                params=card.params,
                tags=card.tags,
                metrics=card.metrics,
                latest=card.latest if latest or whole else {},
                datasets=card.datasets,
                inputs=_inputs(card.datasets),
                uses=card.uses,
                outputs=card.outputs,
                code=None if code is None else msgspec.convert(code, Code),
                environment=environment,
                artifacts=values.artifacts(conn, key) if whole else {},
                error=error,
            )
        )
    return found


def _inputs(read: list[Dataset]) -> dict[str, int]:
    ours = (one for one in read if one.source_type == values.OURS and one.digest.isdecimal())
    return {one.name: int(one.digest) for one in ours}
