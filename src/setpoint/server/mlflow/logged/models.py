"""MLflow's logged models, and their artifacts' listing."""

import uuid
from typing import Any

from msgspec import field

from setpoint.core.operations import Context
from setpoint.runs.entities import Lifecycle
from setpoint.server.mlflow import artifacts, checks, errors, experiments, files, render
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.experiments import Tag
from setpoint.server.mlflow.logged import store
from setpoint.server.mlflow.logged.store import LoggedModel, Measured, OnDataset
from setpoint.server.mlflow.routing import Call, Endpoint, Nothing
from setpoint.server.mlflow.wire import Message, given, number, pairs

_STATUSES = (
    "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "LOGGED_MODEL_PENDING",
    "LOGGED_MODEL_READY",
    "LOGGED_MODEL_UPLOAD_FAILED",
)
_PAGE = 50_000


class Create(Message, frozen=True, kw_only=True):
    experiment_id: str = ""
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[Tag] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)


class Get(Message, frozen=True, kw_only=True):
    allow_deleted: bool = False


class Finalize(Message, frozen=True, kw_only=True):
    status: str | int = ""


class Params(Message, frozen=True, kw_only=True):
    params: list[Tag] = field(default_factory=list)


class Tags(Message, frozen=True, kw_only=True):
    tags: list[Tag] = field(default_factory=list)


class DatasetFilter(Message, frozen=True, kw_only=True):
    dataset_name: str = ""
    dataset_digest: str = ""


class OrderBy(DatasetFilter, frozen=True, kw_only=True):
    field_name: str = ""
    ascending: bool = True


class Search(Message, frozen=True, kw_only=True):
    experiment_ids: list[str] = field(default_factory=list)
    filter: str = ""
    datasets: list[DatasetFilter] = field(default_factory=list)
    max_results: int | None = None
    order_by: list[OrderBy] = field(default_factory=list)
    page_token: str = ""


class Directory(Message, frozen=True, kw_only=True):
    artifact_directory_path: str = ""


def create(call: Call, ask: Create) -> dict[str, Any]:
    experiment = experiments.active(call, ask.experiment_id)
    if any(character in ask.name for character in "/:.%\"'"):
        raise Refused(
            f"Invalid model name ({ask.name!r}) provided. Model name must be a non-empty string "
            "and cannot contain the following characters: ('/', ':', '.', '%', '\"', \"'\")"
        )
    for index, tag in enumerate(ask.tags):
        checks.name(tag.key, f"tags[{index}].key")
    model_id = f"m-{uuid.uuid4().hex}"
    root = render.location(experiment).rstrip("/")

    def make(ctx: Context) -> LoggedModel:
        made = LoggedModel(
            id=model_id,
            experiment_id=experiment.id,
            name=ask.name or f"model-{model_id[2:10]}",
            type=ask.model_type,
            status=_STATUSES[1],
            lifecycle=Lifecycle.ACTIVE,
            run_id=ask.source_run_id,
            location=f"{root}/models/{model_id}/artifacts",
            created_at=ctx.now,
            updated_at=ctx.now,
            params={param.key: param.value for param in ask.params},
            tags={tag.key: tag.value for tag in ask.tags},
        )
        store.add(ctx.conn, made)
        return made

    return {"model": shown(call.write(make))}


def get(call: Call, ask: Get) -> dict[str, Any]:
    return {"model": shown(find(call, call.path["model_id"], deleted=ask.allow_deleted))}


def finalize(call: Call, ask: Finalize) -> dict[str, Any]:
    name = _STATUSES[int(ask.status)] if str(ask.status) in {"0", "1", "2", "3"} else ask.status
    if name not in _STATUSES:
        raise Refused(f"Invalid logged model status '{ask.status}'.")
    found = find(call, call.path["model_id"])
    call.write(lambda ctx: store.touch(ctx.conn, found.id, ctx.now, status=str(name)))
    return {"model": shown(find(call, found.id))}


def delete(call: Call, _: Nothing) -> dict[str, Any]:
    found = find(call, call.path["model_id"])
    gone = Lifecycle.DELETED.value
    call.write(lambda ctx: store.touch(ctx.conn, found.id, ctx.now, lifecycle=gone))
    return {}


def log_params(call: Call, ask: Params) -> dict[str, Any]:
    found = find(call, call.path["model_id"])
    params = {param.key: param.value for param in ask.params}
    call.write(lambda ctx: store.values.put(ctx.conn, found.id, store.PARAM, params))
    return {}


def set_tags(call: Call, ask: Tags) -> dict[str, Any]:
    found = find(call, call.path["model_id"])
    for index, tag in enumerate(ask.tags):
        checks.name(tag.key, f"tags[{index}].key")
    tags = {tag.key: tag.value for tag in ask.tags}
    call.write(lambda ctx: store.values.put(ctx.conn, found.id, store.TAG, tags))
    return {}


def delete_tag(call: Call, _: Nothing) -> dict[str, Any]:
    found, key = find(call, call.path["model_id"]), call.path["tag_key"]
    if not call.write(lambda ctx: store.values.drop(ctx.conn, found.id, store.TAG, [key])):
        text = f"No tag with key {key!r} found for model with ID {found.id!r}."
        raise Refused(text, errors.MISSING)
    return {}


def search(call: Call, ask: Search) -> dict[str, Any]:
    if not ask.experiment_ids:
        raise errors.missing("experiment_ids")
    wanted = store.Ask(
        experiments=[checks.experiment_id(each) for each in ask.experiment_ids],
        filter=ask.filter,
        datasets=[OnDataset(each.dataset_name, each.dataset_digest) for each in ask.datasets],
        order=[_ordered(each) for each in ask.order_by],
        limit=checks.at_most(ask.max_results, 100, _PAGE),
        token=ask.page_token,
    )
    found, token = call.read(lambda conn: store.search(conn, wanted))
    return given(models=[shown(each) for each in found], next_page_token=token or None)


def _ordered(by: OrderBy) -> tuple[str, OnDataset]:
    entity, dot, key = by.field_name.partition(".")
    name = f"{entity}.`{key.strip('`')}`" if dot else entity
    text = f"{name} {'ASC' if by.ascending else 'DESC'}"
    return text, OnDataset(by.dataset_name, by.dataset_digest)


def list_artifacts(call: Call, ask: Directory) -> dict[str, Any]:
    """List a folder of a model's artifacts; those that lie elsewhere only its client can list."""
    found = find(call, call.path["model_id"])
    folder = files.clean(ask.artifact_directory_path)
    if not found.location.startswith(store.PROXIED):
        raise Refused(f"The artifacts at {found.location} are not kept by this server.")
    root = found.location.removeprefix(store.PROXIED)
    entries = files.listing(call, f"{root}/{folder}" if folder else root)
    return {**artifacts.listed(entries, folder), "root_uri": found.location}


def find(call: Call, model_id: str, *, deleted: bool = False) -> LoggedModel:
    """Return a logged model.

    Raises:
        Refused: If there is none of this id, or it was deleted.
    """
    found = call.read(lambda conn: store.find(conn, [model_id]))
    if not found or (found[0].lifecycle is Lifecycle.DELETED and not deleted):
        raise Refused(f"Logged model with ID '{model_id}' not found.", errors.MISSING)
    return found[0]


def shown(model: LoggedModel) -> dict[str, Any]:
    """Return a logged model as MLflow's message."""
    info = {
        "model_id": model.id,
        "experiment_id": str(model.experiment_id),
        "name": model.name,
        "creation_timestamp_ms": render.millis(model.created_at),
        "last_updated_timestamp_ms": render.millis(model.updated_at),
        "artifact_uri": model.location,
        "status": model.status,
        "model_type": model.type or None,
        "source_run_id": model.run_id or None,
        "tags": pairs(model.tags),
    }
    data = given(params=pairs(model.params), metrics=[_metric(each) for each in model.metrics])
    return {"info": given(**info), "data": data}


def _metric(point: Measured) -> dict[str, Any]:
    fields = {
        "key": point.name,
        "value": number(point.value),
        "timestamp": render.millis(point.at),
        "step": point.step,
        "model_id": point.model_id,
        "run_id": point.run_id or None,
        "dataset_name": point.dataset or None,
        "dataset_digest": point.digest or None,
    }
    return given(**fields)


_AT = "/mlflow/logged-models"
_ONE = f"{_AT}/{{model_id}}"

ENDPOINTS = (
    Endpoint("POST", _AT, Create, create, ("experiment_id",)),
    Endpoint("POST", f"{_AT}/search", Search, search),
    Endpoint("GET", _ONE, Get, get),
    Endpoint("PATCH", _ONE, Finalize, finalize, ("status",)),
    Endpoint("DELETE", _ONE, Nothing, delete),
    Endpoint("POST", f"{_ONE}/params", Params, log_params),
    Endpoint("PATCH", f"{_ONE}/tags", Tags, set_tags),
    Endpoint("DELETE", f"{_ONE}/tags/{{tag_key}}", Nothing, delete_tag),
    Endpoint("GET", f"{_ONE}/artifacts/directories", Directory, list_artifacts),
)
