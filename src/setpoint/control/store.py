"""The only SQL about applied specs, jobs, leases and cursors."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from setpoint.control.entities import Applied, Job, JobState
from setpoint.control.tables import cursors, jobs, leases, specs
from setpoint.errors import NotFound


def applied(conn: Connection, model: str) -> Applied | None:
    row = conn.execute(_APPLIED, {"of_model": model}).one_or_none()
    return None if row is None else _applied(row)


def all_applied(conn: Connection) -> list[Applied]:
    return [_applied(row) for row in conn.execute(select(specs).order_by(specs.c.model))]


def apply(conn: Connection, spec: Applied) -> None:
    """Put `spec` in force, in place of the one there is."""
    conn.execute(delete(specs).where(specs.c.model == spec.model))
    conn.execute(insert(specs).values(msgspec.structs.asdict(spec)))


def request(conn: Connection, job: Job) -> bool:
    """Record the intent to train; False where a training of the model is already open."""
    try:
        with conn.begin_nested():
            conn.execute(insert(jobs).values(msgspec.structs.asdict(job)))
    except IntegrityError:
        return False
    return True


def job(conn: Connection, job_id: str) -> Job:
    """Return one training.

    Raises:
        NotFound: If there is none of this id.
    """
    row = conn.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"no training {job_id!r}", hint="list a model's with: setpoint status")
    return _job(row)


def open_job(conn: Connection, model: str) -> Job | None:
    query = select(jobs).where(jobs.c.model == model, jobs.c.state == JobState.REQUESTED)
    row = conn.execute(query).one_or_none()
    return None if row is None else _job(row)


def last_job(conn: Connection, model: str) -> Job | None:
    """Return the training of `model` that was requested last."""
    query = select(jobs).where(jobs.c.model == model)
    row = conn.execute(query.order_by(jobs.c.requested_at.desc(), jobs.c.id.desc()).limit(1))
    found = row.one_or_none()
    return None if found is None else _job(found)


def jobs_of(conn: Connection, model: str, limit: int = 1000) -> list[Job]:
    query = select(jobs).where(jobs.c.model == model)
    ordered = query.order_by(jobs.c.requested_at.desc(), jobs.c.id.desc()).limit(limit)
    return [_job(row) for row in conn.execute(ordered)]


def job_of_version(conn: Connection, model: str, version: int) -> Job | None:
    query = select(jobs).where(jobs.c.model == model, jobs.c.version == version)
    row = conn.execute(query.limit(1)).one_or_none()
    return None if row is None else _job(row)


def jobs_caused(conn: Connection, alarm: str, limit: int = 20) -> list[Job]:
    """Return the trainings that an alarm caused, oldest first."""
    query = select(jobs).where(jobs.c.cause == alarm).order_by(jobs.c.requested_at, jobs.c.id)
    return [_job(row) for row in conn.execute(query.limit(limit))]


def began(conn: Connection, job: Job) -> None:
    conn.execute(update(jobs).where(jobs.c.id == job.id).values(attempts=jobs.c.attempts + 1))


def finish(conn: Connection, job: Job) -> bool:
    """Write how `job` ended; False where somebody else already did."""
    done = conn.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.state == JobState.REQUESTED)
        .values(
            state=job.state,
            finished_at=job.finished_at,
            version=job.version,
            outcome=job.outcome,
        )
    )
    return done.rowcount == 1


def acquire(conn: Connection, name: str, holder: str, *, now: datetime, lasts: timedelta) -> bool:
    """Take or renew a lease; False while somebody else holds it."""
    free = or_(leases.c.holder == holder, leases.c.until <= now)
    taken = conn.execute(
        update(leases).where(leases.c.name == name, free).values(holder=holder, until=now + lasts)
    )
    if taken.rowcount == 1:
        return True
    try:
        with conn.begin_nested():
            conn.execute(insert(leases).values(name=name, holder=holder, until=now + lasts))
    except IntegrityError:
        return False
    return True


def renew(conn: Connection, name: str, holder: str, *, until: datetime) -> bool:
    """Make a lease last longer; False where `holder` has it no more."""
    mine = (leases.c.name == name, leases.c.holder == holder)
    return conn.execute(update(leases).where(*mine).values(until=until)).rowcount == 1


def holder(conn: Connection, name: str, *, lock: bool = False) -> str | None:
    """Return who holds a lease, run out or not; locked, it changes hands later."""
    query = select(leases.c.holder).where(leases.c.name == name)
    found = conn.execute(query.with_for_update() if lock else query)
    return found.scalar_one_or_none()


def release(conn: Connection, name: str, holder: str) -> None:
    conn.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def cursor(conn: Connection, name: str, *, lock: bool = False) -> Any:
    """Return the position stored under `name`, or None; locked, nobody else moves it."""
    query = _CURSOR_LOCKED if lock else _CURSOR
    return conn.execute(query, {"of_name": name}).scalar_one_or_none()


def move_cursor(conn: Connection, name: str, position: Any) -> None:
    if conn.execute(_MOVE, {"of_name": name, "to": position}).rowcount == 0:
        conn.execute(insert(cursors).values(name=name, position=position))


def need(conn: Connection, model: str) -> Applied:
    """Return the spec in force.

    Raises:
        NotFound: If none was applied.
    """
    found = applied(conn, model)
    if found is None:
        known = [spec.model for spec in all_applied(conn)]
        hint = f"applied here: {', '.join(known)}" if known else "run: setpoint apply"
        raise NotFound(f"no spec of model {model!r} is applied", hint=hint)
    return found


# Asked for at every tick: making a statement takes longer than running it.
_APPLIED = select(specs).where(specs.c.model == bindparam("of_model"))
_CURSOR = select(cursors.c.position).where(cursors.c.name == bindparam("of_name"))
_CURSOR_LOCKED = _CURSOR.with_for_update()
_MOVE = (
    update(cursors).where(cursors.c.name == bindparam("of_name")).values(position=bindparam("to"))
)


def _applied(row: Row[Any]) -> Applied:
    return msgspec.convert(row, Applied, from_attributes=True)


def _job(row: Row[Any]) -> Job:
    return msgspec.convert(row, Job, from_attributes=True)
