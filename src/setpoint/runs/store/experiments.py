"""All SQL about experiments."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from setpoint.comments import store as comments
from setpoint.db.upsert import upsert
from setpoint.errors import Conflict, NotFound
from setpoint.runs.entities import Experiment, Lifecycle
from setpoint.runs.store.naming import plain
from setpoint.runs.tables import experiment_tags as tg
from setpoint.runs.tables import experiments as e
from setpoint.runs.tables import run_keeping as kp
from setpoint.runs.tables import runs as r


def add(conn: Connection, name: str, now: datetime) -> int:
    """Insert an experiment and return its id.

    Raises:
        Conflict: If there is one of that name, perhaps deleted.
    """
    number = ensure(conn, name, now, new=True)
    if number is None:
        raise Conflict(
            f"experiment {name!r} exists already",
            hint="use it, restore it if it was deleted, or choose another name",
        )
    return number


def ensure(conn: Connection, name: str, now: datetime, *, new: bool = False) -> int | None:
    """Return the id of the experiment of that name, made if it is not there.

    With `new`, return None if it was there.
    """
    query = select(e.c.id).where(e.c.name == plain(name))
    found = conn.execute(query).scalar_one_or_none()
    if found is not None:
        return None if new else int(found)
    row = {"name": plain(name), "lifecycle": Lifecycle.ACTIVE, "created_at": now, "updated_at": now}
    upsert(conn, e, [row], on=["name"])
    return int(conn.execute(query).scalar_one())


def find(conn: Connection, *, id: int | None = None, name: str | None = None) -> Experiment | None:  # noqa: A002 - the field's name
    """Read one experiment by its id or its name, if it is there."""
    where = e.c.name == plain(name or "") if id is None else e.c.id == id
    row = conn.execute(select(e).where(where)).one_or_none()
    return None if row is None else entities(conn, [row])[0]


def get(conn: Connection, *, id: int | None = None, name: str | None = None) -> Experiment:  # noqa: A002 - the field's name
    """Read one experiment by its id or its name.

    Raises:
        NotFound: If there is no such experiment.
    """
    found = find(conn, id=id, name=name)
    if found is None:
        named = repr(name) if id is None else f"with id {id}"
        raise NotFound(f"no experiment {named}", hint="list them with: setpoint runs experiments")
    return found


def change(conn: Connection, number: int, now: datetime, **columns: Any) -> None:
    """Update columns of an experiment."""
    conn.execute(update(e).where(e.c.id == number).values(updated_at=now, **columns))


def live(
    conn: Connection, experiment: Experiment, lifecycle: Lifecycle, deleted_at: datetime | None
) -> None:
    """Delete the runs of an experiment with it, or restore those that were."""
    runs = update(r).where(r.c.experiment_id == experiment.id)
    if lifecycle is Lifecycle.DELETED:
        runs = runs.where(r.c.lifecycle == Lifecycle.ACTIVE)
    else:
        runs = runs.where(r.c.deleted_at == experiment.updated_at)
    conn.execute(runs.values(lifecycle=lifecycle, deleted_at=deleted_at))


def put_tags(conn: Connection, number: int, tags: dict[str, str]) -> None:
    """Write tags, over what they were."""
    rows = [
        {"experiment_id": number, "name": plain(name), "value": plain(value)}
        for name, value in tags.items()
    ]
    upsert(conn, tg, rows, update=["value"])


def forget_tags(conn: Connection, number: int, names: Sequence[str]) -> None:
    """Delete tags."""
    wanted = [plain(name) for name in names]
    conn.execute(delete(tg).where(tg.c.experiment_id == number, tg.c.name.in_(wanted)))


def entities(conn: Connection, rows: Sequence[Any]) -> list[Experiment]:
    """Return experiments with their tags, in the order of the rows."""
    tags: dict[int, dict[str, str]] = {}
    query = select(tg).where(tg.c.experiment_id.in_([row.id for row in rows]))
    for tag in conn.execute(query.order_by(tg.c.name)):
        tags.setdefault(tag.experiment_id, {})[tag.name] = tag.value
    return [
        Experiment(
            id=row.id,
            name=row.name,
            lifecycle=Lifecycle(row.lifecycle),
            created_at=row.created_at,
            updated_at=row.updated_at,
            tags=tags.get(row.id, {}),
        )
        for row in rows
    ]


def drop(conn: Connection, numbers: Sequence[int]) -> None:
    """Delete experiments that have no run."""
    gone = conn.execute(select(e.c.name).where(e.c.id.in_(numbers))).scalars()
    comments.forget(conn, [f"experiment:{name}" for name in gone])
    for table in (tg, kp):
        conn.execute(delete(table).where(table.c.experiment_id.in_(numbers)))
    conn.execute(delete(e).where(e.c.id.in_(numbers)))
