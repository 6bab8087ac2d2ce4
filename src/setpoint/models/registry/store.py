"""The only SQL about what the registry keeps beyond weights. None opens or commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update

from setpoint.comments import store as comments
from setpoint.db.upsert import insertion
from setpoint.errors import NotFound
from setpoint.models import store as versions_store
from setpoint.models.entities import ModelVersion
from setpoint.models.registry.entities import Entry, Model, Stage
from setpoint.models.tables import (
    model_aliases,
    model_approvals,
    model_asked,
    model_protections,
    model_tags,
    model_versions,
    models,
)

m, v, t, a = models.c, model_versions.c, model_tags.c, model_aliases.c

#: Every table that names a model, versions and aliases (which follow them) apart.
_SAID = (model_tags, model_approvals, model_asked, model_protections)
_COLUMNS = [str(name) for name in models.c.keys()]  # noqa: SIM118 - of columns
_CHUNK = 500  #: values in one list of a statement


def find(conn: Connection, model: str, *, lock: bool = False) -> Model | None:
    """Return a model, deleted or not, if it was ever made."""
    query = select(models).where(m.model == model)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else entities(conn, [row])[0]


def get(conn: Connection, model: str, *, lock: bool = False) -> Model:
    """Return a model that is not deleted; with `lock`, nobody else changes it meanwhile.

    Raises:
        NotFound: If there is none of this name.
    """
    found = find(conn, model, lock=lock)
    if found is None or found.deleted_at is not None:
        raise NotFound(f"no model {model!r}", hint="list them with: setpoint models ls")
    return found


def add(conn: Connection, model: Model) -> bool:
    """Insert a model without versions, its tags included, unless there is one of the name."""
    row = {name: getattr(model, name) for name in _COLUMNS}
    statement = insertion(conn, models).values(row).on_conflict_do_nothing()
    added = conn.execute(statement.returning(models.c.model)).one_or_none() is not None
    if added:
        put_tags(conn, model.model, 0, model.tags)
    return added


def change(conn: Connection, model: str, **values: Any) -> None:
    """Set columns of a model."""
    conn.execute(update(models).where(m.model == model).values(values))


def change_version(conn: Connection, model: str, number: int, **values: Any) -> None:
    """Set columns of a version."""
    conn.execute(update(model_versions).where(v.model == model, v.number == number).values(values))


def rename(conn: Connection, model: str, new: str, at: datetime) -> None:
    """Give a model another name, wherever it is named here."""
    conn.execute(update(models).where(m.model == model).values(model=new, updated_at=at))
    # Aliases follow by their foreign key.
    moved = {"model": new, "updated_at": at}
    conn.execute(update(model_versions).where(v.model == model).values(moved))
    for table in _SAID:
        conn.execute(update(table).where(table.c.model == model).values(model=new))
    comments.move(conn, f"model:{model}", f"model:{new}")
    comments.move(conn, f"version:{model}/", f"version:{new}/", under=True)


def forget(conn: Connection, model: str) -> None:
    """Delete all rows of a model: what it was stays in the record only."""
    for table in (*_SAID, model_aliases, model_versions, models):
        conn.execute(delete(table).where(table.c.model == model))
    comments.forget(conn, [f"model:{model}"], under=f"version:{model}/")


def forget_said(conn: Connection, model: str, number: int) -> None:
    """Delete what was said of one version."""
    for table in (model_tags, model_approvals, model_asked):
        conn.execute(delete(table).where(table.c.model == model, table.c.number == number))
    comments.forget(conn, [f"version:{model}/{number}"])


def forget_version(conn: Connection, model: str, number: int) -> None:
    """Delete the row of one version, what was said of it and the aliases it had."""
    forget_said(conn, model, number)
    conn.execute(delete(model_aliases).where(a.model == model, a.number == number))
    conn.execute(delete(model_versions).where(v.model == model, v.number == number))


def delete_versions(conn: Connection, model: str, at: datetime) -> None:
    """Mark every version of a model that is not deleted yet."""
    conn.execute(
        update(model_versions)
        .where(v.model == model, v.deleted_at.is_(None))
        .values(deleted_at=at, updated_at=at)
    )


def restore_versions(conn: Connection, model: str, deleted_at: datetime, at: datetime) -> None:
    """Take the mark off the versions that were deleted together with their model."""
    conn.execute(
        update(model_versions)
        .where(v.model == model, v.deleted_at == deleted_at, v.purged_at.is_(None))
        .values(deleted_at=None, updated_at=at)
    )


def all_versions(conn: Connection, model: str) -> list[ModelVersion]:
    """Return every version of a model, deleted ones too, newest first."""
    query = select(model_versions).where(v.model == model).order_by(v.number.desc())
    return [versions_store.entity(row) for row in conn.execute(query)]


def get_entry(conn: Connection, model: str, number: int) -> Entry:
    """Return a version that is not deleted, with its tags and aliases.

    Raises:
        NotFound: If there is none, or it is deleted.
    """
    version = versions_store.get(conn, model, number)
    if version.deleted_at is not None:
        raise NotFound(
            f"version {number} of model {model!r} is deleted",
            hint=f"bring it back with: setpoint models restore {model} --number {number}",
        )
    return entries(conn, [version])[0]


def latest(conn: Connection, names: Iterable[str]) -> dict[str, list[Entry]]:
    """Return the newest version of every stage, by model."""
    wanted = list(names)
    found: dict[str, list[Entry]] = {name: [] for name in wanted}
    for start in range(0, len(wanted), _CHUNK):
        newest = (
            select(v.model, func.max(v.number).label("number"))
            .where(v.model.in_(wanted[start : start + _CHUNK]), v.deleted_at.is_(None))
            .group_by(v.model, v.stage)
            .subquery()
        )
        query = select(model_versions).join(
            newest, (v.model == newest.c.model) & (v.number == newest.c.number)
        )
        rows = conn.execute(query.order_by(v.model, v.number))
        for entry in entries(conn, [versions_store.entity(row) for row in rows]):
            found[entry.version.model].append(entry)
    return found


def in_stage(conn: Connection, model: str, stage: Stage) -> list[int]:
    """Return the numbers of the versions that are in a stage."""
    query = select(v.number).where(v.model == model, v.stage == stage, v.deleted_at.is_(None))
    return list(conn.execute(query.order_by(v.number)).scalars())


def entries(conn: Connection, found: Sequence[ModelVersion]) -> list[Entry]:
    """Return versions with their tags and aliases, in the same order."""
    names = sorted({each.model for each in found})
    numbers = sorted({each.number for each in found})
    tags: dict[tuple[str, int], dict[str, str]] = {}
    aliases: dict[tuple[str, int], list[str]] = {}
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        said = select(model_tags).where(t.model.in_(some), t.number > 0)
        if len(numbers) <= _CHUNK:
            said = said.where(t.number.in_(numbers))
        for row in conn.execute(said.order_by(t.key)):
            tags.setdefault((row.model, row.number), {})[row.key] = row.value
        for row in conn.execute(select(model_aliases).where(a.model.in_(some)).order_by(a.alias)):
            aliases.setdefault((row.model, row.number), []).append(row.alias)
    return [
        Entry(
            version=each,
            tags=tags.get((each.model, each.number), {}),
            aliases=aliases.get((each.model, each.number), []),
        )
        for each in found
    ]


def tags(conn: Connection, model: str, number: int = 0) -> dict[str, str]:
    """Return the tags of a version, or of the model itself."""
    query = select(t.key, t.value).where(t.model == model, t.number == number).order_by(t.key)
    return {key: value for key, value in conn.execute(query)}  # noqa: C416 - rows are no pairs


def put_tags(conn: Connection, model: str, number: int, new: dict[str, str]) -> None:
    """Set tags, over what they were."""
    for key, value in new.items():
        row = {"model": model, "number": number, "key": key, "value": value}
        conn.execute(
            insertion(conn, model_tags)
            .values(row)
            .on_conflict_do_update(index_elements=["model", "number", "key"], set_={"value": value})
        )


def drop_tags(conn: Connection, model: str, number: int, keys: Iterable[str]) -> list[str]:
    """Remove tags; return the keys of those that were there."""
    wanted = sorted(set(keys) & set(tags(conn, model, number)))
    for key in wanted:
        conn.execute(delete(model_tags).where(t.model == model, t.number == number, t.key == key))
    return wanted


def entities(conn: Connection, rows: Sequence[Row[Any]]) -> list[Model]:
    """Return models with their tags and aliases, in the same order."""
    names = [row.model for row in rows]
    said: dict[str, dict[str, str]] = {}
    named: dict[str, dict[str, int]] = {}
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        query = select(model_tags).where(t.model.in_(some), t.number == 0).order_by(t.key)
        for row in conn.execute(query):
            said.setdefault(row.model, {})[row.key] = row.value
        for row in conn.execute(select(model_aliases).where(a.model.in_(some)).order_by(a.alias)):
            named.setdefault(row.model, {})[row.alias] = row.number
    return [
        msgspec.convert(
            {name: getattr(row, name) for name in _COLUMNS}
            | {"tags": said.get(row.model, {}), "aliases": named.get(row.model, {})},
            Model,
        )
        for row in rows
    ]
