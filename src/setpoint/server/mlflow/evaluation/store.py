"""All SQL of evaluation datasets and scorers."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, delete, func, insert, literal, select, update

from setpoint.db.named import NamedValues
from setpoint.db.upsert import upsert
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
from setpoint.server.mlflow.evaluation.tables import (
    mlflow_dataset_records,
    mlflow_dataset_values,
    mlflow_datasets,
    mlflow_scorers,
)

TAG, EXPERIMENT = "tag", "experiment"

_d, _v, _r, _s = (
    mlflow_datasets.c,
    mlflow_dataset_values.c,
    mlflow_dataset_records.c,
    mlflow_scorers.c,
)

DATASETS = Language(
    noun="dataset",
    attributes={
        "name": Attribute(),
        "dataset_id": Attribute(),
        "digest": Attribute(),
        "created_by": Attribute(),
        "last_updated_by": Attribute(),
        "created_time": Attribute(kind=Kind.TIME),
        "last_update_time": Attribute(kind=Kind.TIME),
    },
    entities={"tags": Entity(also=("tag",))},
)
_ATTRIBUTES: dict[str, Any] = {
    "name": _d.name,
    "dataset_id": _d.id,
    "digest": _d.digest,
    "created_by": _d.created_by,
    "last_updated_by": _d.updated_by,
    "created_time": micros(_d.created_at),
    "last_update_time": micros(_d.updated_at),
}

values = NamedValues(mlflow_dataset_values, "dataset_id")  #: tags and their like


class Dataset(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    digest: str
    created_at: datetime
    updated_at: datetime
    created_by: str = ""
    updated_by: str = ""
    schema: dict[str, Any] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    experiments: list[str] = field(default_factory=list)
    records: int = 0


class Record(Struct, frozen=True, kw_only=True):
    id: str
    inputs: str  #: hash of what it is known by
    content: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class Scorer(NamedTuple):
    """One version of a scorer."""

    experiment_id: int
    name: str
    version: int
    id: str
    content: str
    created_at: datetime


class Ask(Struct, frozen=True, kw_only=True):
    """A search for datasets."""

    experiments: list[str] = field(default_factory=list)  #: empty: of any
    filter: str = ""
    order: list[str] = field(default_factory=list)
    limit: int = 1_000
    token: str = ""


def add(conn: Connection, dataset: Dataset) -> None:
    names = ("id", "name", "digest", "schema", "created_at", "updated_at")
    row = {name: getattr(dataset, name) for name in (*names, "created_by", "updated_by")}
    conn.execute(insert(mlflow_datasets).values(row))
    values.put(conn, dataset.id, TAG, dataset.tags)
    values.put(conn, dataset.id, EXPERIMENT, dict.fromkeys(dataset.experiments, ""))


def find(conn: Connection, ids: list[str]) -> list[Dataset]:
    """Return the datasets of these ids, in their order; those not there are left out."""
    named = values.of(conn, ids)
    counted = select(_r.dataset_id, func.count()).where(_r.dataset_id.in_(ids))
    counts = {row[0]: row[1] for row in conn.execute(counted.group_by(_r.dataset_id))}
    found = {
        row.id: Dataset(
            id=row.id,
            name=row.name,
            digest=row.digest,
            created_at=row.created_at,
            updated_at=row.updated_at,
            created_by=row.created_by,
            updated_by=row.updated_by,
            schema=row.schema,
            tags=named.get(row.id, {}).get(TAG, {}),
            experiments=list(named.get(row.id, {}).get(EXPERIMENT, {})),
            records=counts.get(row.id, 0),
        )
        for row in conn.execute(select(mlflow_datasets).where(_d.id.in_(ids)))
    }
    return [found[each] for each in ids if each in found]


def search(conn: Connection, ask: Ask) -> tuple[list[Dataset], str]:
    """Return a page of datasets and the token of the next."""
    conditions = [searching.where(parse(ask.filter, DATASETS), lambda found: _leaf(conn, found))]
    if ask.experiments:
        own = (_v.dataset_id == _d.id) & (_v.kind == EXPERIMENT)
        belongs = select(literal(1)).where(own, _v.name.in_(ask.experiments))
        conditions.append(belongs.exists())
    order: list[Sort] = []
    for item in parse_order(ask.order or ["created_time DESC"], DATASETS):
        empty: str | int = "" if DATASETS.attributes[item.key].kind is Kind.TEXT else 0
        order += sorts(_ATTRIBUTES[item.key], empty, descending=item.descending)
    rows, token = searching.page(
        conn,
        select(_d.id).where(*conditions),
        [*order, Sort(_d.id)],
        limit=ask.limit,
        token=ask.token,
        of=searching.mark(ask.experiments, ask.filter, ask.order),
    )
    return find(conn, [row.id for row in rows]), token


def _leaf(conn: Connection, found: Comparison) -> Condition:
    if found.entity == ATTRIBUTE:
        return compare(conn, _ATTRIBUTES[found.key], found)
    own = (_v.dataset_id == _d.id) & (_v.kind == TAG)
    return searching.tags(conn, found, own, _v.name, _v.value)


def touch(conn: Connection, dataset_id: str, now: datetime, **changed: Any) -> None:
    where = _d.id == dataset_id
    conn.execute(update(mlflow_datasets).where(where).values(updated_at=now, **changed))


def drop(conn: Connection, dataset_id: str) -> None:
    """Delete a dataset with its records."""
    conn.execute(delete(mlflow_dataset_values).where(_v.dataset_id == dataset_id))
    conn.execute(delete(mlflow_dataset_records).where(_r.dataset_id == dataset_id))
    conn.execute(delete(mlflow_datasets).where(_d.id == dataset_id))


def known(conn: Connection, dataset_id: str, inputs: list[str]) -> dict[str, Record]:
    """Return the records of a dataset with these inputs."""
    found: dict[str, Record] = {}
    for start in range(0, len(inputs), 500):
        query = select(mlflow_dataset_records).where(
            _r.dataset_id == dataset_id, _r.inputs.in_(inputs[start : start + 500])
        )
        found |= {row.inputs: _record(row) for row in conn.execute(query)}
    return found


def put_records(conn: Connection, dataset_id: str, records: list[Record]) -> None:
    rows = [{"dataset_id": dataset_id, **msgspec.structs.asdict(each)} for each in records]
    upsert(conn, mlflow_dataset_records, rows, update=("content", "updated_at"))


def records(conn: Connection, dataset_id: str, limit: int, token: str) -> tuple[list[Record], str]:
    """Return a page of a dataset's records, the oldest first, and the token of the next."""
    columns = (_r.id, _r.inputs, _r.content, _r.created_at, _r.updated_at)
    rows, following = searching.page(
        conn,
        select(*columns).where(_r.dataset_id == dataset_id),
        [Sort(micros(_r.created_at)), Sort(_r.id)],
        limit=limit,
        token=token,
        of=searching.mark(dataset_id),
    )
    return [_record(row) for row in rows], following


def drop_records(conn: Connection, dataset_id: str, ids: list[str]) -> int:
    own = (_r.dataset_id == dataset_id, _r.id.in_(ids))
    return conn.execute(delete(mlflow_dataset_records).where(*own)).rowcount


def _record(row: Any) -> Record:
    return Record(
        id=row.id,
        inputs=row.inputs,
        content=row.content,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def add_scorer(conn: Connection, scorer: Scorer) -> None:
    conn.execute(insert(mlflow_scorers).values(scorer._asdict()))


def scorers(conn: Connection, experiments: list[int], name: str | None = None) -> list[Scorer]:
    """Return the versions of scorers of experiments, by name and version."""
    query = select(mlflow_scorers).where(_s.experiment_id.in_(experiments))
    if name is not None:
        query = query.where(_s.name == name)
    order = (_s.experiment_id, _s.name, _s.version)
    return [
        Scorer(row.experiment_id, row.name, row.version, row.id, row.content, row.created_at)
        for row in conn.execute(query.order_by(*order))
    ]


def drop_scorer(conn: Connection, experiment: int, name: str, version: int | None) -> int:
    """Delete one version, or all; return how many there were."""
    gone = delete(mlflow_scorers).where(_s.experiment_id == experiment, _s.name == name)
    if version is not None:
        gone = gone.where(_s.version == version)
    return conn.execute(gone).rowcount
