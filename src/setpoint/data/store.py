"""The only SQL about datasets. Each function takes a connection; none opens or commits."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from setpoint.data.entities import DatasetVersion, Owner, Validation
from setpoint.data.names import nearest
from setpoint.data.tables import data_home
from setpoint.data.tables import dataset_versions as v
from setpoint.data.tables import validations as reports
from setpoint.db.upsert import upsert
from setpoint.errors import NotFound


def owner(conn: Connection) -> Owner | None:
    """Return whose files the tables are; None before the first."""
    row = conn.execute(select(data_home)).one_or_none()
    return None if row is None else msgspec.convert(row, Owner, from_attributes=True)


def claim(conn: Connection, owner: Owner) -> None:
    """Write whose files the tables are, unless somebody was faster."""
    upsert(conn, data_home, [{"id": 1, **msgspec.structs.asdict(owner)}])


def moved(conn: Connection, owner: Owner) -> None:
    """Write where the files of the same mark are now."""
    values = {"host": owner.host, "folder": owner.folder}
    conn.execute(update(data_home).where(data_home.c.mark == owner.mark).values(values))


def latest(conn: Connection, dataset: str) -> DatasetVersion | None:
    """Return the newest version of `dataset`, None before the first."""
    query = select(v).where(v.c.dataset == dataset).order_by(v.c.number.desc()).limit(1)
    row = conn.execute(query).one_or_none()
    return None if row is None else _version(row)


def get(conn: Connection, dataset: str, number: int | None = None) -> DatasetVersion:
    """Read one version, the newest where `number` is None.

    Raises:
        NotFound: If there is no such dataset, or it has no such version.
    """
    newest = latest(conn, dataset)
    if newest is None:
        known = list(conn.execute(select(v.c.dataset).distinct()).scalars())
        raise NotFound(
            f"no dataset {dataset!r}",
            hint=nearest(dataset, known) or "list them with: setpoint data ls",
        )
    if number is None or number == newest.number:
        return newest
    row = conn.execute(select(v).where(v.c.dataset == dataset, v.c.number == number)).one_or_none()
    if row is None:
        raise NotFound(
            f"no version {number} of dataset {dataset!r}",
            hint=f"it has 1 to {newest.number}",
        )
    return _version(row)


def versions(conn: Connection, dataset: str, *, limit: int = 100) -> list[DatasetVersion]:
    """Return the newest versions of `dataset`, newest first."""
    query = select(v).where(v.c.dataset == dataset).order_by(v.c.number.desc()).limit(limit)
    return [_version(row) for row in conn.execute(query)]


def newest_of_each(conn: Connection) -> list[DatasetVersion]:
    """Return the newest version of every dataset, by name."""
    newest = (
        select(v.c.dataset, func.max(v.c.number).label("number")).group_by(v.c.dataset).subquery()
    )
    query = (
        select(v)
        .join(newest, (v.c.dataset == newest.c.dataset) & (v.c.number == newest.c.number))
        .order_by(v.c.dataset)
    )
    return [_version(row) for row in conn.execute(query)]


def add(conn: Connection, version: DatasetVersion, validation: Validation) -> bool:
    """Write a version and its report; False, and nothing written, where it is there."""
    newest = latest(conn, version.dataset)
    if newest is not None and newest.number >= version.number:
        return False
    conn.execute(insert(reports).values(_values(validation)))
    conn.execute(insert(v).values(_values(version)))
    return True


def validation(conn: Connection, dataset: str, number: int) -> Validation:
    """Read the report on the rows that made version `number`.

    Raises:
        NotFound: If there is none.
    """
    query = select(reports).where(reports.c.dataset == dataset, reports.c.number == number)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"no validation of dataset {dataset!r} version {number}")
    return msgspec.convert(row, Validation, from_attributes=True)


def _values(entity: DatasetVersion | Validation) -> dict[str, Any]:
    return msgspec.structs.asdict(entity)


def _version(row: Row[Any]) -> DatasetVersion:
    return msgspec.convert(row, DatasetVersion, from_attributes=True)
