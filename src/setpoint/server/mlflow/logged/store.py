"""Logged models: what a run made and MLflow tracks on its own, with params, tags and metrics."""

import math
from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, delete, insert, select, update

from setpoint.runs.entities import Lifecycle
from setpoint.server.mlflow.store import upsert
from setpoint.server.mlflow.tables import (
    mlflow_model_metrics,
    mlflow_model_values,
    mlflow_models,
)

PARAM, TAG = "param", "tag"
_SOME = 500  #: ids in one statement


class Measured(Struct, frozen=True, kw_only=True):
    """One value of a metric of a logged model, on a dataset or on none."""

    model_id: str
    name: str
    value: float
    at: datetime
    step: int = 0
    run_id: str = ""
    dataset: str = ""  #: name
    digest: str = ""  #: of that dataset


class LoggedModel(Struct, frozen=True, kw_only=True):
    id: str
    experiment_id: int
    name: str
    type: str
    status: str  #: MLflow's name of it: LOGGED_MODEL_PENDING, …
    lifecycle: Lifecycle
    run_id: str  #: that made it; empty: none did
    location: str  #: URI of its artifacts
    created_at: datetime
    updated_at: datetime
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Measured] = field(default_factory=list)


_PLAIN = tuple(column.name for column in mlflow_models.columns)


def add(conn: Connection, model: LoggedModel) -> None:
    row = {name: getattr(model, name) for name in _PLAIN}
    conn.execute(insert(mlflow_models).values(row))
    put_values(conn, model.id, PARAM, model.params)
    put_values(conn, model.id, TAG, model.tags)


def find(conn: Connection, ids: list[str]) -> list[LoggedModel]:
    """Return the models of these ids, in their order; those that are not there are left out."""
    found: dict[str, LoggedModel] = {}
    for start in range(0, len(ids), _SOME):
        some = ids[start : start + _SOME]
        values, metrics = _values(conn, some), _metrics(conn, some)
        rows = conn.execute(select(mlflow_models).where(mlflow_models.c.id.in_(some)))
        for row in rows:
            kinds = values.get(row.id, {})
            found[row.id] = msgspec.convert(
                {
                    **row._mapping,  # noqa: SLF001 - its public name
                    "params": kinds.get(PARAM, {}),
                    "tags": kinds.get(TAG, {}),
                    "metrics": metrics.get(row.id, []),
                },
                LoggedModel,
            )
    return [found[each] for each in ids if each in found]


def touch(conn: Connection, model_id: str, now: datetime, **changed: str) -> None:
    """Change fields of a model."""
    where = mlflow_models.c.id == model_id
    conn.execute(update(mlflow_models).where(where).values(updated_at=now, **changed))


def put_values(conn: Connection, model_id: str, kind: str, values: dict[str, str]) -> None:
    rows = [
        {"model_id": model_id, "kind": kind, "name": name, "value": value}
        for name, value in values.items()
    ]
    upsert(conn, mlflow_model_values, rows)


def drop_tag(conn: Connection, model_id: str, name: str) -> bool:
    """Take a tag from a model; tell whether it was there."""
    table = mlflow_model_values.c
    gone = delete(mlflow_model_values).where(
        table.model_id == model_id, table.kind == TAG, table.name == name
    )
    return conn.execute(gone).rowcount > 0


def measure(conn: Connection, points: Iterable[Measured]) -> None:
    """Keep what was measured of models that are there; the rest belongs to nobody."""
    points = list(points)
    ids = {point.model_id for point in points}
    known = set(conn.scalars(select(mlflow_models.c.id).where(mlflow_models.c.id.in_(ids))))
    rows = {
        (p.model_id, p.name, p.run_id, p.step, p.at, p.dataset, p.digest): p
        for p in points
        if p.model_id in known
    }
    upsert(
        conn,
        mlflow_model_metrics,
        [
            {
                **msgspec.structs.asdict(point),
                "value": None if math.isnan(point.value) else point.value,
            }
            for point in rows.values()
        ],
    )


def _values(conn: Connection, ids: list[str]) -> dict[str, dict[str, dict[str, str]]]:
    table = mlflow_model_values
    query = select(table).where(table.c.model_id.in_(ids)).order_by(table.c.name)
    found: dict[str, dict[str, dict[str, str]]] = {}
    for row in conn.execute(query):
        found.setdefault(row.model_id, {}).setdefault(row.kind, {})[row.name] = row.value
    return found


def _metrics(conn: Connection, ids: list[str]) -> dict[str, list[Measured]]:
    """Return the last value of each metric on each dataset."""
    table = mlflow_model_metrics
    query = (
        select(table)
        .where(table.c.model_id.in_(ids))
        .order_by(table.c.name, table.c.dataset, table.c.digest, table.c.at, table.c.step)
    )
    last: dict[tuple[str, str, str, str], Measured] = {}
    for row in conn.execute(query):
        value = math.nan if row.value is None else row.value
        point = msgspec.convert({**row._mapping, "value": value}, Measured)  # noqa: SLF001
        last[row.model_id, row.name, row.dataset, row.digest] = point
    found: dict[str, list[Measured]] = {}
    for (model_id, *_), point in last.items():
        found.setdefault(model_id, []).append(point)
    return found
