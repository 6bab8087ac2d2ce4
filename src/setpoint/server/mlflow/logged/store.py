"""Logged models: what a run made and MLflow tracks on its own, with params, tags and metrics."""

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)

from setpoint.db.named import NamedValues
from setpoint.db.upsert import upsert
from setpoint.errors import Invalid
from setpoint.runs.entities import Artifact, Lifecycle
from setpoint.runs.filters import (
    ATTRIBUTE,
    Attribute,
    Comparison,
    Entity,
    Kind,
    Language,
    parse,
    parse_order,
)
from setpoint.runs.store import searching
from setpoint.runs.store.searching import Condition, Sort, compare, micros, sorts
from setpoint.server.mlflow.store import files_under
from setpoint.server.mlflow.tables import (
    mlflow_model_metrics,
    mlflow_model_values,
    mlflow_models,
)

PARAM, TAG = "param", "tag"
PROXIED = "mlflow-artifacts:/"  #: how locations begin that are here
_SOME = 500  #: ids in one statement

_m, _v, _p = mlflow_models.c, mlflow_model_values.c, mlflow_model_metrics.c

MODELS = Language(
    noun="logged model",
    attributes={
        "name": Attribute(),
        "model_id": Attribute(),
        "model_type": Attribute(),
        "status": Attribute(),
        "source_run_id": Attribute(),
        "experiment_id": Attribute(kind=Kind.NUMBER),
        "creation_timestamp": Attribute(
            kind=Kind.TIME, also=("creation_time", "creation_timestamp_ms")
        ),
        "last_updated_timestamp": Attribute(kind=Kind.TIME, also=("last_updated_timestamp_ms",)),
    },
    entities={
        "metrics": Entity(kind=Kind.NUMBER, also=("metric",)),
        "params": Entity(also=("param",)),
        "tags": Entity(also=("tag",)),
    },
)
_ATTRIBUTES: dict[str, ColumnElement[Any]] = {
    "name": _m.name,
    "model_id": _m.id,
    "model_type": _m.type,
    "status": func.replace(_m.status, "LOGGED_MODEL_", ""),
    "source_run_id": _m.run_id,
    "experiment_id": _m.experiment_id,
    "creation_timestamp": micros(_m.created_at),
    "last_updated_timestamp": micros(_m.updated_at),
}

values = NamedValues(mlflow_model_values, "model_id")  #: tags and their like


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


class OnDataset(NamedTuple):
    """Which metrics count: those measured on a dataset; an empty part is any."""

    name: str = ""
    digest: str = ""


class Ask(Struct, frozen=True, kw_only=True):
    """A search for models that are not deleted."""

    experiments: list[int]
    filter: str = ""
    datasets: list[OnDataset] = field(default_factory=list)
    order: list[tuple[str, OnDataset]] = field(default_factory=list)
    limit: int = 100
    token: str = ""


_CARRIED = {"params", "tags", "metrics"}
_PLAIN = tuple(name for name in LoggedModel.__struct_fields__ if name not in _CARRIED)


def add(conn: Connection, model: LoggedModel) -> None:
    row = {name: getattr(model, name) for name in _PLAIN}
    conn.execute(insert(mlflow_models).values(row))
    values.put(conn, model.id, PARAM, model.params)
    values.put(conn, model.id, TAG, model.tags)


def find(conn: Connection, ids: list[str]) -> list[LoggedModel]:
    """Return the models of these ids, in their order; those that are not there are left out."""
    found: dict[str, LoggedModel] = {}
    for start in range(0, len(ids), _SOME):
        some = ids[start : start + _SOME]
        named, metrics = values.of(conn, some), _metrics(conn, some)
        rows = conn.execute(select(mlflow_models).where(mlflow_models.c.id.in_(some)))
        for row in rows:
            kinds = named.get(row.id, {})
            found[row.id] = msgspec.convert(
                {
                    **{name: getattr(row, name) for name in _PLAIN},
                    "params": kinds.get(PARAM, {}),
                    "tags": kinds.get(TAG, {}),
                    "metrics": metrics.get(row.id, []),
                },
                LoggedModel,
            )
    return [found[each] for each in ids if each in found]


def files_of(conn: Connection, model_id: str) -> dict[str, Artifact]:
    """Return the files of a logged model that are kept here, by path; none if there is none."""
    found: dict[str, Artifact] = {}
    for model in find(conn, [model_id]):
        root = model.location.removeprefix(PROXIED)
        for path, file in files_under(conn, root).items():
            found[path.removeprefix(f"{root}/")] = file
    return found


def search(conn: Connection, ask: Ask) -> tuple[list[LoggedModel], str]:
    """Return a page of models and the token of the next; the newest first by default."""
    conditions = [
        _m.experiment_id.in_(ask.experiments),
        _m.lifecycle == Lifecycle.ACTIVE,
        searching.where(parse(ask.filter, MODELS), lambda found: _leaf(conn, ask, found)),
    ]
    if ask.datasets:
        measured = select(literal(1)).where(_p.model_id == _m.id, _measured_on(ask.datasets))
        conditions.append(measured.exists())
    order = [*_order(ask), Sort(micros(_m.created_at), descending=True), Sort(_m.id)]
    rows, token = searching.page(
        conn,
        select(_m.id).where(*conditions),
        order,
        limit=ask.limit,
        token=ask.token,
        of=searching.mark(ask.experiments, ask.filter, ask.datasets, ask.order),
    )
    return find(conn, [row.id for row in rows]), token


def _leaf(conn: Connection, ask: Ask, found: Comparison) -> Condition:
    if found.entity == ATTRIBUTE:
        return compare(conn, _ATTRIBUTES[found.key], found)
    if found.entity == "metrics":
        there = select(literal(1)).where(_p.model_id == _m.id, _p.name == found.key)
        if ask.datasets:
            there = there.where(_measured_on(ask.datasets))
        if found.op == "NULL":
            return there.exists() if found.negated else ~there.exists()
        return there.where(compare(conn, _p.value, found)).exists()
    kind = PARAM if found.entity == "params" else TAG
    return searching.tags(
        conn, found, (_v.model_id == _m.id) & (_v.kind == kind), _v.name, _v.value
    )


def _order(ask: Ask) -> Iterator[Sort]:
    for text, dataset in ask.order:
        (item,) = parse_order([text], MODELS)
        if item.entity == ATTRIBUTE:
            numeric = MODELS.attributes[item.key].kind is not Kind.TEXT
            yield from sorts(
                _ATTRIBUTES[item.key], 0 if numeric else "", descending=item.descending
            )
        elif item.entity == "metrics":
            last = (
                select(_p.value)
                .where(_p.model_id == _m.id, _p.name == item.key, _measured_on([dataset]))
                .order_by(_p.at.desc(), _p.step.desc())
                .limit(1)
                .scalar_subquery()
            )
            yield from sorts(last, 0.0, descending=item.descending)
        else:
            raise Invalid(f"Invalid order by field name: {text}. Only metrics are supported.")


def _measured_on(datasets: list[OnDataset]) -> Condition:
    return or_(
        *(
            and_(
                true(),
                *([_p.dataset == each.name] if each.name else []),
                *([_p.digest == each.digest] if each.digest else []),
            )
            for each in datasets
        )
    )


def touch(conn: Connection, model_id: str, now: datetime, **changed: str) -> None:
    """Change fields of a model."""
    where = mlflow_models.c.id == model_id
    conn.execute(update(mlflow_models).where(where).values(updated_at=now, **changed))


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
        update=("value",),
    )


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
        point = Measured(
            model_id=row.model_id,
            name=row.name,
            value=math.nan if row.value is None else row.value,
            at=row.at,
            step=row.step,
            run_id=row.run_id,
            dataset=row.dataset,
            digest=row.digest,
        )
        last[row.model_id, row.name, row.dataset, row.digest] = point
    found: dict[str, list[Measured]] = {}
    for (model_id, *_), point in last.items():
        found.setdefault(model_id, []).append(point)
    return found
