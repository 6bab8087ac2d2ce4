"""The only SQL about releases. Each function takes a connection; none opens or commits."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, case, insert, select, update
from sqlalchemy.exc import IntegrityError

from setpoint.db.upsert import insertion
from setpoint.errors import Conflict, NotFound
from setpoint.releases.entities import OPEN, Look, Release
from setpoint.releases.evidence import Evidence
from setpoint.releases.tables import release_looks
from setpoint.releases.tables import releases as t


def add(conn: Connection, release: Release) -> None:
    """Insert a release.

    Raises:
        Conflict: If its model has an open one already.
    """
    try:
        conn.execute(insert(t).values(msgspec.structs.asdict(release)))
    except IntegrityError:
        raise Conflict(
            f"a release of {release.model} is open already",
            hint=f"see it with: setpoint releases show {release.model}",
        ) from None


def get(conn: Connection, release_id: str, *, lock: bool = False) -> Release:
    """Read one release; with `lock` nobody else writes it until the transaction ends.

    Raises:
        NotFound: If there is no such release.
    """
    query = select(t).where(t.c.id == release_id)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"no release {release_id!r}", hint="list them with: setpoint releases ls")
    return _entity(row)


def find(conn: Connection, name: str) -> Release:
    """Read a release by its id, or a model's newest one by the model's name.

    An open release is always its model's newest.

    Raises:
        NotFound: If `name` is neither.
    """
    query = select(t).where(t.c.model == name).order_by(*_NEWEST).limit(1)
    row = conn.execute(query).one_or_none()
    return get(conn, name) if row is None else _entity(row)


def current(conn: Connection, model: str) -> Release | None:
    """Return the open release of a model, if it has one."""
    row = conn.execute(_CURRENT, {"of_model": model}).one_or_none()
    return None if row is None else _entity(row)


def running(conn: Connection) -> list[Release]:
    """Return all open releases, by model."""
    query = select(t).where(t.c.state.in_(OPEN)).order_by(t.c.model)
    return [_entity(row) for row in conn.execute(query)]


def ls(conn: Connection, model: str | None = None, *, limit: int = 100) -> list[Release]:
    """Return releases, newest first."""
    query = select(t).order_by(*_NEWEST).limit(limit)
    if model is not None:
        query = query.where(t.c.model == model)
    return [_entity(row) for row in conn.execute(query)]


def of_version(conn: Connection, model: str, version: int) -> list[Release]:
    """Return the releases of one version, newest first."""
    query = select(t).where(t.c.model == model, t.c.version == version)
    return [_entity(row) for row in conn.execute(query.order_by(*_NEWEST))]


def put(conn: Connection, release: Release, *, was: Release) -> None:
    """Write `release`, provided that nobody moved it since it was `was`.

    Raises:
        Conflict: If somebody did.
    """
    values = msgspec.structs.asdict(release)
    done = conn.execute(
        update(t)
        .where(t.c.id == was.id, t.c.revision == was.revision, t.c.state == was.state)
        .where(t.c.step == was.step)
        .values({name: value for name, value in values.items() if name != "id"})
    )
    if done.rowcount != 1:
        raise Conflict(f"{release.ref} changed meanwhile", hint="look at it again, then retry")


def put_evidence(conn: Connection, release_id: str, evidence: Evidence) -> None:
    """Write evidence that the caller merged under a lock."""
    conn.execute(update(t).where(t.c.id == release_id).values(evidence=evidence))


def add_look(conn: Connection, release: Release, at: datetime) -> None:
    """Keep the evidence as it is; a second look at the same time replaces the first."""
    statement = insertion(conn, release_looks).values(
        release_id=release.id,
        at=at,
        step=release.step,
        weight=release.weight,
        evidence=release.evidence,
    )
    new = statement.excluded
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["release_id", "at"],
            set_={"step": new.step, "weight": new.weight, "evidence": new.evidence},
        )
    )


def looks(conn: Connection, release_id: str) -> list[Look]:
    """Return the looks at a release, oldest first."""
    query = select(release_looks).where(release_looks.c.release_id == release_id)
    return [
        msgspec.convert(row, Look, from_attributes=True)
        for row in conn.execute(query.order_by(release_looks.c.at))
    ]


# Asked for at every tick: making a statement takes longer than running it.
_CURRENT = select(t).where(t.c.model == bindparam("of_model"), t.c.state.in_(OPEN))

# Releases may start at one instant of a simulated clock: an open one is then the newest.
_NEWEST = (
    t.c.started_at.desc(),
    case((t.c.state.in_(OPEN), 0), else_=1),
    t.c.version.desc(),
    t.c.id.desc(),
)


def _entity(row: Row[Any]) -> Release:
    return msgspec.convert(row, Release, from_attributes=True)
