"""The only SQL about models. Each function takes a connection; none opens or commits."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from setpoint.db.upsert import insertion
from setpoint.errors import NotFound
from setpoint.models.entities import PROMPT, Alias, ModelSummary, ModelVersion, Override
from setpoint.models.tables import model_aliases, model_tags, model_versions, models

t = model_versions


class Origin(NamedTuple):
    """What one version was trained on."""

    model: str
    number: int
    created_at: datetime
    rows: str | None  #: address of the ids of its training rows
    datasets: dict[str, int]


def lock(conn: Connection, model: str, now: datetime) -> int:
    """Make the model if it is new, keep others from registering; return its version count.

    A model that was deleted is there again, without the versions it had. The lock ends with
    the caller's transaction.
    """
    row = {"model": model, "versions": 0, "created_at": now, "updated_at": now, "description": ""}
    conn.execute(insertion(conn, models).values(row).on_conflict_do_nothing())
    touched = (
        update(models)
        .where(models.c.model == model)
        .values(updated_at=now, deleted_at=None)
        .returning(models.c.versions)
    )
    return int(conn.execute(touched).scalar_one())


def add(conn: Connection, version: ModelVersion) -> None:
    """Insert a version whose number the caller took under `lock`."""
    conn.execute(insert(t).values(msgspec.structs.asdict(version)))
    conn.execute(
        update(models).where(models.c.model == version.model).values(versions=version.number)
    )


def find_run(conn: Connection, model: str, run_id: str) -> ModelVersion | None:
    """Return the version of `model` that this run trained, if any."""
    query = select(t).where(t.c.model == model, t.c.run_id == run_id, t.c.flavor != "")
    row = conn.execute(query).one_or_none()
    return None if row is None else entity(row)


def of_run(conn: Connection, run_id: str) -> list[ModelVersion]:
    """Return every version that this run produced."""
    query = select(t).where(t.c.run_id == run_id).order_by(t.c.model, t.c.number)
    return [entity(row) for row in conn.execute(query)]


def get(conn: Connection, model: str, number: int) -> ModelVersion:
    """Read one version.

    Raises:
        NotFound: If there is no such version.
    """
    row = conn.execute(_VERSION, {"of_model": model, "of_number": number}).one_or_none()
    if row is None:
        raise NotFound(
            f"no version {number} of model {model!r}",
            hint=f"list its versions with: setpoint models show {model}",
        )
    return entity(row)


_VERSION = select(t).where(t.c.model == bindparam("of_model"), t.c.number == bindparam("of_number"))


def versions(conn: Connection, model: str) -> list[ModelVersion]:
    """Return all versions of a model, newest first; empty if there is no such model.

    Deleted ones are left out; `get` still finds them, for what they once answered.
    """
    query = select(t).where(t.c.model == model, t.c.deleted_at.is_(None))
    query = query.order_by(t.c.number.desc())
    return [entity(row) for row in conn.execute(query)]


def origins(conn: Connection, *, limit: int) -> list[Origin]:
    """Return what the newest versions of all models were trained on, newest first."""
    query = select(t.c.model, t.c.number, t.c.created_at, t.c.rows, t.c.datasets)
    ordered = query.order_by(t.c.created_at.desc(), t.c.model, t.c.number.desc())
    return [Origin(*row) for row in conn.execute(ordered.limit(limit))]


def ls(conn: Connection) -> list[ModelSummary]:
    """Return all models by name, without deleted ones and without prompts."""
    named: dict[str, dict[str, int]] = {}
    for each in aliases(conn):
        named.setdefault(each.model, {})[each.alias] = each.number
    here = set(conn.execute(select(t.c.model).where(t.c.flavor != "").distinct()).scalars())
    said = model_tags.c
    prompts = select(said.model).where(
        said.number == 0, said.key == PROMPT, func.lower(said.value) == "true"
    )
    query = select(models).where(models.c.deleted_at.is_(None), models.c.model.not_in(prompts))
    return [
        ModelSummary(
            model=row.model,
            versions=row.versions,
            created_at=row.created_at,
            aliases=named.get(row.model, {}),
            trained_here=row.model in here,
        )
        for row in conn.execute(query.order_by(models.c.model))
    ]


def aliases(conn: Connection, model: str | None = None) -> list[Alias]:
    """Return the aliases of one model, or of all."""
    query = select(model_aliases).order_by(model_aliases.c.model, model_aliases.c.alias)
    if model is not None:
        query = query.where(model_aliases.c.model == model)
    return [msgspec.convert(row, Alias, from_attributes=True) for row in conn.execute(query)]


def alias(conn: Connection, model: str, name: str) -> int | None:
    """Return the number of the version that an alias names now, if it names one."""
    query = select(model_aliases.c.number).where(
        model_aliases.c.model == model, model_aliases.c.alias == name
    )
    return conn.execute(query).scalar_one_or_none()


def put_alias(conn: Connection, new: Alias) -> None:
    """Point an alias at a version, wherever it pointed before."""
    statement = insertion(conn, model_aliases).values(msgspec.structs.asdict(new))
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["model", "alias"], set_={"number": new.number}
        )
    )


def drop_alias(conn: Connection, model: str, name: str, *, number: int) -> None:
    """Remove an alias if it names version `number`; else nothing changes."""
    a = model_aliases.c
    conn.execute(
        model_aliases.delete().where(a.model == model, a.alias == name, a.number == number)
    )


def set_override(conn: Connection, model: str, number: int, override: Override) -> bool:
    """Write the override of a version unless it has one; tell whether it was written."""
    done = conn.execute(
        update(t)
        .where(t.c.model == model, t.c.number == number, t.c.override.is_(None))
        .values(override=override)
    )
    return done.rowcount == 1


def entity(row: Row[Any]) -> ModelVersion:
    """Return the version that a row of its table holds."""
    values = {name: getattr(row, name) for name in ModelVersion.__struct_fields__}
    values["metrics"] = {
        name: float("nan") if value is None else value for name, value in values["metrics"].items()
    }
    return msgspec.convert(values, ModelVersion)
