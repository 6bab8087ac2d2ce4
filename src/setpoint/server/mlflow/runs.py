"""MLflow's runs are ours: their name, parent and user are fields here and tags there."""

import json
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import UNSET, field, structs

from setpoint.errors import Conflict, NotFound
from setpoint.runs import commands, service
from setpoint.runs.entities import Dataset, Lifecycle, Link, Run, Status
from setpoint.runs.rules import ParamChanged
from setpoint.server.mlflow import checks, errors, experiments, render
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.experiments import Tag
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.wire import Message, given

_PAGE = 50_000
_HISTORY = "mlflow.log-model.history"
_DATASETS = 1_000  #: most of them that one answer lists
_FIRST = ("calm", "keen", "brisk", "still", "clear", "bold", "fair", "swift", "warm", "plain")
_SECOND = ("heron", "larch", "delta", "ember", "fjord", "otter", "quartz", "sable", "tern", "yew")


class Create(Message, frozen=True, kw_only=True):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int | None = None
    tags: list[Tag] = field(default_factory=list)


class ById(Message, frozen=True, kw_only=True):
    run_id: str = ""
    run_uuid: str = ""  #: what old clients call it

    @property
    def id(self) -> str:
        return self.run_id or self.run_uuid


class Update(Message, frozen=True, kw_only=True):
    run_id: str = ""
    status: str | int | None = None
    end_time: int | None = None
    run_name: str = ""


class Search(Message, frozen=True, kw_only=True):
    experiment_ids: list[str] = field(default_factory=list)
    filter: str = ""
    run_view_type: str | int | None = None
    max_results: int | None = None
    order_by: list[str] = field(default_factory=list)
    page_token: str = ""


class LogParam(Message, frozen=True, kw_only=True):
    run_id: str = ""
    key: str = ""
    value: str = ""


class Data(Message, frozen=True, kw_only=True):
    name: str = ""
    digest: str = ""
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""


class DataInput(Message, frozen=True, kw_only=True):
    dataset: Data = Data()
    tags: list[Tag] = field(default_factory=list)


class Model(Message, frozen=True, kw_only=True):
    model_id: str = ""
    step: int = 0


class LogInputs(Message, frozen=True, kw_only=True):
    run_id: str = ""
    datasets: list[DataInput] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)


class LogOutputs(Message, frozen=True, kw_only=True):
    run_id: str = ""
    models: list[Model] = field(default_factory=list)


class LogModel(Message, frozen=True, kw_only=True):
    run_id: str = ""
    model_json: str = ""


class SearchDatasets(Message, frozen=True, kw_only=True):
    experiment_ids: list[str] = field(default_factory=list)


@contextmanager
def telling(call: Call, run_id: str) -> Iterator[None]:
    """Turn what may go wrong with a run into what MLflow's clients expect."""
    try:
        yield
    except NotFound:
        raise Refused(f"Run with id={run_id} not found", errors.MISSING) from None
    except ParamChanged as error:
        raise Refused(
            f"Changing param values is not allowed. Param with key='{error.name}' was already"
            f" logged with value='{error.old}' for run ID='{run_id}'. Attempted logging new value"
            f" '{error.new}'."
        ) from None
    except Conflict:
        active(call, run_id)
        raise


def find(call: Call, run_id: str) -> Run:
    """Return a run, deleted or not, with its artifacts."""
    with telling(call, run_id):
        return call.run(service.show, commands.ShowRun(run=run_id))


def active(call: Call, run_id: str) -> Run:
    """Return a run that is not deleted."""
    found = find(call, run_id)
    if found.lifecycle is not Lifecycle.ACTIVE:
        raise Refused(
            f"The run {found.id} must be in the 'active' state. Current state is {found.lifecycle}."
        )
    return found


def log(call: Call, command: commands.Log) -> None:
    """Add to a run, whether or not it has ended."""
    with telling(call, command.run):
        call.run(service.log, command)


def create(call: Call, ask: Create) -> dict[str, Any]:
    tags = {tag.key: tag.value for tag in ask.tags}
    for index, tag in enumerate(ask.tags):
        checks.tag(tag.key, tag.value, f"tags[{index}].")
    named = tags.get(render.RUN_NAME, "")
    if ask.run_name and named and ask.run_name != named:
        raise Refused(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with "
            f"different values (run_name='{ask.run_name}', mlflow.runName='{named}')."
        )
    experiment = experiments.active(call, ask.experiment_id)
    name = ask.run_name or named or _any_name()
    tags[render.RUN_NAME] = name
    if render.LOCATION in experiment.tags:
        tags[render.LOCATION] = experiment.tags[render.LOCATION]
    command = commands.Start(
        id=uuid.uuid4().hex,
        experiment_id=experiment.id,
        name=name,
        parent=tags.get(render.PARENT),
        started_at=None if ask.start_time is None else render.moment(ask.start_time),
        tags=tags,
        actor=ask.user_id or None,
    )
    try:
        started = call.run(service.start, command)
    except NotFound:  # MLflow lets a tag name a parent that is not here
        started = call.run(service.start, structs.replace(command, parent=None))
    return {"run": render.run(started)}


def update(call: Call, ask: Update) -> dict[str, Any]:
    found = active(call, ask.run_id)
    status = None if ask.status is None else render.status(ask.status)
    resumed = status in {Status.RUNNING, Status.SCHEDULED}
    ended = None if resumed else UNSET
    if ask.run_name:
        log(call, commands.Log(run=found.id, tags={render.RUN_NAME: ask.run_name}))
    changed = call.run(
        service.update,
        commands.UpdateRun(
            run=found.id,
            name=ask.run_name or None,
            status=status,
            ended_at=ended if ask.end_time is None else render.moment(ask.end_time),
        ),
    )
    return {"run_info": render.info(changed)}


def delete(call: Call, ask: ById) -> dict[str, Any]:
    with telling(call, ask.id):
        call.run(service.delete, commands.OneRun(run=ask.id))
    return {}


def restore(call: Call, ask: ById) -> dict[str, Any]:
    with telling(call, ask.id):
        call.run(service.restore, commands.OneRun(run=ask.id))
    return {}


def get(call: Call, ask: ById) -> dict[str, Any]:
    if not ask.id:
        raise errors.missing("run_id")
    return {"run": render.run(find(call, ask.id))}


def search(call: Call, ask: Search) -> dict[str, Any]:
    limit = checks.at_most(ask.max_results, 1_000, _PAGE)
    numbers = [checks.experiment_id(each) for each in ask.experiment_ids]
    if not numbers:
        return {}
    found = call.run(
        service.search,
        commands.SearchRuns(
            experiment_ids=numbers,
            filter=ask.filter,
            order=ask.order_by,
            view=render.view(ask.run_view_type),
            limit=limit,
            token=ask.page_token,
            latest=True,
        ),
    )
    return given(runs=[render.run(each) for each in found.runs], next_page_token=found.next or None)


def log_param(call: Call, ask: LogParam) -> dict[str, Any]:
    checks.param(ask.key, ask.value, "")
    log(call, commands.Log(run=ask.run_id, params={ask.key: ask.value}, late=True))
    return {}


def set_tag(call: Call, ask: LogParam) -> dict[str, Any]:
    checks.tag(ask.key, ask.value, "")
    log(call, commands.Log(run=ask.run_id, tags={ask.key: ask.value}))
    if ask.key == render.RUN_NAME:
        call.run(service.update, commands.UpdateRun(run=ask.run_id, name=ask.value))
    return {}


def delete_tag(call: Call, ask: LogParam) -> dict[str, Any]:
    if ask.key not in active(call, ask.run_id).tags:
        raise Refused(f"No tag with name: {ask.key} in run with id {ask.run_id}", errors.MISSING)
    call.run(service.forget, commands.Forget(run=ask.run_id, tags=[ask.key]))
    return {}


def log_inputs(call: Call, ask: LogInputs) -> dict[str, Any]:
    checks.run_id(ask.run_id)
    uses = [Link(kind=render.MODEL, ref=model.model_id) for model in ask.models]
    datasets = [_dataset(each, index) for index, each in enumerate(ask.datasets)]
    if datasets:  # what was said of the same data before stays, unless it is said anew
        known = {(each.name, each.digest): each.tags for each in find(call, ask.run_id).datasets}
        datasets = [
            structs.replace(each, tags={**known.get((each.name, each.digest), {}), **each.tags})
            for each in datasets
        ]
    log(call, commands.Log(run=ask.run_id, datasets=datasets, uses=uses, late=True))
    return {}


def log_outputs(call: Call, ask: LogOutputs) -> dict[str, Any]:
    outputs = [Link(kind=render.MODEL, ref=each.model_id, step=each.step) for each in ask.models]
    log(call, commands.Log(run=ask.run_id, outputs=outputs, late=True))
    return {}


def log_model(call: Call, ask: LogModel) -> dict[str, Any]:
    """Add a model's description to the history that older clients keep in a tag."""
    try:
        model = json.loads(ask.model_json)
        lacking = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model)
    except (ValueError, TypeError):
        raise Refused(
            f"Malformed model info. \n {ask.model_json} \n is not a valid JSON."
        ) from None
    if lacking:
        raise Refused(f"Model json is missing mandatory fields: {lacking}")
    history = json.loads(active(call, ask.run_id).tags.get(_HISTORY, "[]"))
    value = json.dumps([*history, model])
    checks.length("value", value, checks.RUN_TAG)
    log(call, commands.Log(run=ask.run_id, tags={_HISTORY: value}))
    return {}


def search_datasets(call: Call, ask: SearchDatasets) -> dict[str, Any]:
    if not ask.experiment_ids:
        raise Refused("SearchDatasets request must specify at least one experiment_id.")
    if len(ask.experiment_ids) > 20:
        raise Refused(
            "SearchDatasets request cannot specify more than 20 experiment_ids."
            f" Received {len(ask.experiment_ids)} experiment_ids."
        )
    numbers = [checks.experiment_id(each) for each in ask.experiment_ids]
    found: dict[tuple[str, str, str, str], None] = {}
    token = ""
    while len(found) < _DATASETS:
        asked = commands.SearchRuns(experiment_ids=numbers, token=token)
        page = call.run(service.search, asked)
        found |= {
            (str(run.experiment_id), each.name, each.digest, each.context): None
            for run in page.runs
            for each in run.datasets
        }
        token = page.next
        if not token:
            break
    return given(
        dataset_summaries=[
            {"experiment_id": experiment, "name": name, "digest": digest, "context": context}
            for experiment, name, digest, context in list(found)[:_DATASETS]
        ]
    )


def _dataset(ask: DataInput, index: int) -> Dataset:
    path = f"datasets[{index}].dataset"
    for name, limit in (("name", 500), ("digest", 36)):
        value = getattr(ask.dataset, name)
        if not value:
            raise errors.missing(f"{path}.{name}")
        checks.length(f"{path}.{name}", value, limit)
    checks.length(f"{path}.source", ask.dataset.source, 65_535)
    checks.length(f"{path}.schema", ask.dataset.schema, 1_048_575)
    checks.length(f"{path}.profile", ask.dataset.profile, 16_777_215)
    tags = {tag.key: tag.value for tag in ask.tags}
    return Dataset(
        name=ask.dataset.name,
        digest=ask.dataset.digest,
        source_type=ask.dataset.source_type,
        source=ask.dataset.source,
        schema=ask.dataset.schema,
        profile=ask.dataset.profile,
        context=tags.pop(render.CONTEXT, ""),
        tags=tags,
    )


def _any_name() -> str:
    return f"{secrets.choice(_FIRST)}-{secrets.choice(_SECOND)}-{secrets.randbelow(1000)}"


_AT = "/mlflow/runs"
_ID = ("run_id",)

ENDPOINTS = (
    Endpoint("POST", f"{_AT}/create", Create, create),
    Endpoint("POST", f"{_AT}/update", Update, update, _ID),
    Endpoint("POST", f"{_AT}/delete", ById, delete, _ID),
    Endpoint("POST", f"{_AT}/restore", ById, restore, _ID),
    Endpoint("GET", f"{_AT}/get", ById, get),
    Endpoint("POST", f"{_AT}/search", Search, search),
    Endpoint("POST", f"{_AT}/log-parameter", LogParam, log_param, (*_ID, "key")),
    Endpoint("POST", f"{_AT}/set-tag", LogParam, set_tag, (*_ID, "key")),
    Endpoint("POST", f"{_AT}/delete-tag", LogParam, delete_tag, (*_ID, "key")),
    Endpoint("POST", f"{_AT}/log-inputs", LogInputs, log_inputs, _ID),
    Endpoint("POST", f"{_AT}/outputs", LogOutputs, log_outputs, _ID),
    Endpoint("POST", f"{_AT}/log-model", LogModel, log_model, (*_ID, "model_json")),
    Endpoint("POST", "/mlflow/experiments/search-datasets", SearchDatasets, search_datasets),
)
