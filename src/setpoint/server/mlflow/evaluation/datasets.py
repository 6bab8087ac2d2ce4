"""MLflow's evaluation datasets: records of inputs with what is expected of them."""

import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec import field, structs

from setpoint.core.operations import Context
from setpoint.server.mlflow import checks, errors, render
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.evaluation import store
from setpoint.server.mlflow.evaluation.store import Dataset, Record
from setpoint.server.mlflow.routing import Call, Endpoint, Nothing
from setpoint.server.mlflow.wire import Message, given

_USER = "mlflow.user"
_MERGED = ("expectations", "tags")  #: of a record sent again: added to what there is
_KEPT = ("inputs", "outputs", "expectations", "tags", "source", "source_id", "source_type")
_TYPES = {bool: "boolean", int: "integer", float: "float", str: "string", list: "array"}


class Create(Message, frozen=True, kw_only=True):
    name: str = ""
    experiment_ids: list[str] = field(default_factory=list)
    tags: str = ""  #: JSON


class Search(Message, frozen=True, kw_only=True):
    experiment_ids: list[str] = field(default_factory=list)
    filter_string: str = ""
    max_results: int | None = None
    order_by: list[str] = field(default_factory=list)
    page_token: str = ""


class Tags(Message, frozen=True, kw_only=True):
    dataset_id: str = ""
    tags: str = ""  #: JSON; null takes a tag away


class Upsert(Message, frozen=True, kw_only=True):
    dataset_id: str = ""
    records: str = ""  #: JSON
    updated_by: str = ""


class Page(Message, frozen=True, kw_only=True):
    dataset_id: str = ""
    max_results: int | None = None
    page_token: str = ""


class Drop(Message, frozen=True, kw_only=True):
    dataset_id: str = ""
    dataset_record_ids: list[str] = field(default_factory=list)


class Experiments(Message, frozen=True, kw_only=True):
    dataset_id: str = ""
    experiment_ids: list[str] = field(default_factory=list)


def create(call: Call, ask: Create) -> dict[str, Any]:
    tags = {key: str(value) for key, value in _object(ask.tags, "tags").items()}
    user = tags.get(_USER, "")
    dataset_id = f"d-{uuid.uuid4().hex}"

    def make(ctx: Context) -> Dataset:
        made = Dataset(
            id=dataset_id,
            name=ask.name,
            digest=_digest(ask.name, ctx.now),
            created_at=ctx.now,
            updated_at=ctx.now,
            created_by=user,
            updated_by=user,
            tags=tags,
            experiments=ask.experiment_ids,
        )
        store.add(ctx.conn, made)
        return made

    return {"dataset": shown(call.write(make))}


def get(call: Call, _: Message) -> dict[str, Any]:
    return {"dataset": shown(find(call))}


def delete(call: Call, _: Nothing) -> dict[str, Any]:
    found = find(call)
    call.write(lambda ctx: store.drop(ctx.conn, found.id))
    return {}


def search(call: Call, ask: Search) -> dict[str, Any]:
    wanted = store.Ask(
        experiments=ask.experiment_ids,
        filter=ask.filter_string,
        order=ask.order_by,
        limit=checks.at_most(ask.max_results or None, 1_000, 50_000),
        token=ask.page_token,
    )
    found, token = call.read(lambda conn: store.search(conn, wanted))
    return given(datasets=[shown(each) for each in found], next_page_token=token or None)


def set_tags(call: Call, ask: Tags) -> dict[str, Any]:
    found, tags = find(call), _object(ask.tags, "tags")

    def change(ctx: Context) -> None:
        kept = {key: str(value) for key, value in tags.items() if value is not None}
        store.values.put(ctx.conn, found.id, store.TAG, kept)
        store.values.drop(ctx.conn, found.id, store.TAG, [key for key in tags if key not in kept])
        store.touch(ctx.conn, found.id, ctx.now)

    call.write(change)
    return {}


def delete_tag(call: Call, _: Nothing) -> dict[str, Any]:
    found, key = find(call), call.path["key"]
    call.write(lambda ctx: store.values.drop(ctx.conn, found.id, store.TAG, [key]))
    return {}


def upsert(call: Call, ask: Upsert) -> dict[str, Any]:
    """Add records, or change those of the same inputs: expectations and tags are added to."""
    found = find(call)
    given_records = _json(ask.records, "records")
    if not isinstance(given_records, list) or not all(isinstance(e, dict) for e in given_records):
        raise errors.wrong_type("records", given_records)
    asked = {_hash(each.get("inputs", {})): each for each in given_records}

    def write(ctx: Context) -> tuple[int, int]:
        there = store.known(ctx.conn, found.id, list(asked))
        store.put_records(
            ctx.conn,
            found.id,
            # A microsecond apart, so that they are listed in the order they came in.
            [
                _merged(there.get(key), key, each, ctx.now + timedelta(microseconds=place))
                for place, (key, each) in enumerate(asked.items())
            ],
        )
        users = [each.get("tags", {}).get(_USER) for each in asked.values() if each.get("tags")]
        store.touch(
            ctx.conn,
            found.id,
            ctx.now,
            digest=_digest(found.name, ctx.now),
            schema=_schema(found.schema, list(asked.values())),
            updated_by=next((user for user in reversed(users) if user), found.updated_by),
        )
        return len(asked) - len(there), len(there)

    inserted, updated = call.write(write)
    return {"inserted_count": inserted, "updated_count": updated}


def list_records(call: Call, ask: Page) -> dict[str, Any]:
    found = find(call)
    limit = checks.at_most(ask.max_results or None, 1_000, 50_000)
    page, token = call.read(lambda conn: store.records(conn, found.id, limit, ask.page_token))
    told = [
        {
            "dataset_record_id": each.id,
            "dataset_id": found.id,
            "created_time": render.millis(each.created_at),
            "last_update_time": render.millis(each.updated_at),
            **each.content,
        }
        for each in page
    ]
    return given(records=json.dumps(told), next_page_token=token or None)


def delete_records(call: Call, ask: Drop) -> dict[str, Any]:
    found = find(call)
    count = call.write(lambda ctx: store.drop_records(ctx.conn, found.id, ask.dataset_record_ids))
    return {"deleted_count": count}


def experiment_ids(call: Call, _: Message) -> dict[str, Any]:
    return given(experiment_ids=find(call).experiments)


def add_experiments(call: Call, ask: Experiments) -> dict[str, Any]:
    def add(ctx: Context, dataset_id: str) -> None:
        named = dict.fromkeys(ask.experiment_ids, "")
        store.values.put(ctx.conn, dataset_id, store.EXPERIMENT, named)

    return _related(call, add)


def remove_experiments(call: Call, ask: Experiments) -> dict[str, Any]:
    def remove(ctx: Context, dataset_id: str) -> None:
        store.values.drop(ctx.conn, dataset_id, store.EXPERIMENT, ask.experiment_ids)

    return _related(call, remove)


def _related(call: Call, change: Callable[[Context, str], None]) -> dict[str, Any]:
    found = find(call)
    call.write(lambda ctx: change(ctx, found.id))
    return {"dataset": shown(find(call))}


def find(call: Call) -> Dataset:
    """Return the dataset that the path names.

    Raises:
        Refused: If there is none.
    """
    dataset_id = call.path["dataset_id"]
    found = call.read(lambda conn: store.find(conn, [dataset_id]))
    if not found:
        text = f"Evaluation dataset with id '{dataset_id}' not found"
        raise Refused(text, errors.MISSING)
    return found[0]


def shown(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as MLflow's message; some of its fields are JSON in text."""
    fields = {
        "dataset_id": dataset.id,
        "name": dataset.name,
        "tags": json.dumps(dataset.tags),
        "schema": None if dataset.schema is None else json.dumps(dataset.schema),
        "profile": json.dumps({"num_records": dataset.records}) if dataset.records else None,
        "digest": dataset.digest,
        "created_time": render.millis(dataset.created_at),
        "last_update_time": render.millis(dataset.updated_at),
        "created_by": dataset.created_by or None,
        "last_updated_by": dataset.updated_by or None,
        "experiment_ids": dataset.experiments,
    }
    return given(**fields)


def _merged(old: Record | None, key: str, new: dict[str, Any], now: datetime) -> Record:
    content = {name: new[name] for name in _KEPT if new.get(name) is not None}
    user = (new.get("tags") or {}).get(_USER)
    if user:
        content["last_updated_by"] = user
    if old is None:
        if user:
            content["created_by"] = user
        made = f"dr-{uuid.uuid4().hex}"
        return Record(id=made, inputs=key, content=content, created_at=now, updated_at=now)
    for name in _MERGED:
        if name in content:
            content[name] = {**(old.content.get(name) or {}), **content[name]}
    source = {name: old.content[name] for name in ("source", "source_id") if name in old.content}
    return structs.replace(old, content={**old.content, **content, **source}, updated_at=now)


def _schema(old: dict[str, Any] | None, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the names and kinds of what records hold, with those known before."""
    schema: dict[str, Any] = {part: {} for part in ("inputs", "outputs", "expectations")}
    for part, fields in (old or {}).items():
        schema[part] = dict(fields)
    for record in records:
        for part, kinds in schema.items():
            held = record.get(part)
            for name, value in held.items() if isinstance(held, dict) else ():
                kinds.setdefault(name, _TYPES.get(type(value), "object"))
    return schema


def _hash(inputs: Any) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _digest(name: str, now: datetime) -> str:
    return hashlib.sha256(f"{name}:{now.isoformat()}".encode()).hexdigest()[:8]


def _object(text: str, name: str) -> dict[str, Any]:
    found = _json(text, name) if text else {}
    if not isinstance(found, dict):
        raise errors.wrong_type(name, found)
    return found


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise errors.wrong_type(name, text) from None


_AT = "/mlflow/datasets"
_ONE = f"{_AT}/{{dataset_id}}"

ENDPOINTS = (
    Endpoint("POST", f"{_AT}/create", Create, create, ("name",), version="3.0"),
    Endpoint("POST", f"{_AT}/search", Search, search, version="3.0"),
    Endpoint("GET", f"{_AT}/search", Search, search, version="3.0"),
    Endpoint("GET", _ONE, Page, get, version="3.0"),
    Endpoint("DELETE", _ONE, Nothing, delete, version="3.0"),
    Endpoint("PATCH", f"{_ONE}/tags", Tags, set_tags, ("tags",), version="3.0"),
    Endpoint("DELETE", f"{_ONE}/tags/{{key}}", Nothing, delete_tag, version="3.0"),
    Endpoint("POST", f"{_ONE}/records", Upsert, upsert, ("records",), version="3.0"),
    Endpoint("GET", f"{_ONE}/records", Page, list_records, version="3.0"),
    Endpoint("DELETE", f"{_ONE}/records", Drop, delete_records, version="3.0"),
    Endpoint("GET", f"{_ONE}/experiment-ids", Page, experiment_ids, version="3.0"),
    Endpoint("POST", f"{_ONE}/add-experiments", Experiments, add_experiments, version="3.0"),
    Endpoint("POST", f"{_ONE}/remove-experiments", Experiments, remove_experiments, version="3.0"),
)
