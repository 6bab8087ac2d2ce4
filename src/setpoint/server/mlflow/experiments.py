"""MLflow's experiments are ours; where artifacts lie, if not with us, is a tag of theirs."""

from typing import Any

from msgspec import field

from setpoint.errors import Conflict, NotFound
from setpoint.runs import commands, service
from setpoint.runs.entities import Experiment, Lifecycle
from setpoint.server.mlflow import checks, errors, render
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.wire import Message, given

_PAGE = 50_000


class Tag(Message, frozen=True, kw_only=True):
    key: str = ""
    value: str = ""


class Create(Message, frozen=True, kw_only=True):
    name: str = ""
    artifact_location: str = ""
    tags: list[Tag] = field(default_factory=list)


class ById(Message, frozen=True, kw_only=True):
    experiment_id: str = ""


class ByName(Message, frozen=True, kw_only=True):
    experiment_name: str = ""


class Rename(Message, frozen=True, kw_only=True):
    experiment_id: str = ""
    new_name: str = ""


class SetTag(Message, frozen=True, kw_only=True):
    experiment_id: str = ""
    key: str = ""
    value: str = ""


class Search(Message, frozen=True, kw_only=True):
    max_results: int | None = None
    page_token: str = ""
    filter: str = ""
    order_by: list[str] = field(default_factory=list)
    view_type: str | int | None = None


def find(call: Call, experiment_id: str) -> Experiment:
    """Return an experiment, deleted or not.

    Raises:
        Refused: If there is none of this id.
    """
    number = checks.experiment_id(experiment_id)
    try:
        return call.run(service.find_experiment, commands.FindExperiment(id=number))
    except NotFound:
        raise Refused(f"No Experiment with id={number} exists", errors.MISSING) from None


def active(call: Call, experiment_id: str) -> Experiment:
    """Return an experiment that is not deleted."""
    found = find(call, experiment_id)
    if found.lifecycle is not Lifecycle.ACTIVE:
        raise Refused(
            f"The experiment {found.id} must be in the 'active' state. "
            f"Current state is {found.lifecycle}."
        )
    return found


def create(call: Call, ask: Create) -> dict[str, Any]:
    checks.experiment_name(ask.name)
    for index, tag in enumerate(ask.tags):
        checks.tag(tag.key, tag.value, f"tags[{index}].", checks.EXPERIMENT_TAG)
    tags = {tag.key: tag.value for tag in ask.tags}
    if ask.artifact_location:
        if ask.artifact_location.startswith("runs:"):
            raise Refused(
                f"Artifact location cannot be a runs:/ URI. Given: '{ask.artifact_location}'"
            )
        tags[render.LOCATION] = ask.artifact_location
    try:
        made = call.run(
            service.create_experiment, commands.CreateExperiment(name=ask.name, tags=tags)
        )
    except Conflict:
        raise Refused(f"Experiment(name={ask.name}) already exists.", errors.EXISTS) from None
    return {"experiment_id": str(made.id)}


def get(call: Call, ask: ById) -> dict[str, Any]:
    return {"experiment": render.experiment(find(call, ask.experiment_id))}


def get_by_name(call: Call, ask: ByName) -> dict[str, Any]:
    command = commands.FindExperiment(name=ask.experiment_name)
    try:
        return {"experiment": render.experiment(call.run(service.find_experiment, command))}
    except NotFound:
        raise Refused(
            f"Could not find experiment with name '{ask.experiment_name}'", errors.MISSING
        ) from None


def delete(call: Call, ask: ById) -> dict[str, Any]:
    found = find(call, ask.experiment_id)
    if found.lifecycle is not Lifecycle.ACTIVE:
        raise Refused(f"No Experiment with id={found.id} exists", errors.MISSING)
    call.run(service.delete_experiment, commands.OneExperiment(id=found.id))
    return {}


def restore(call: Call, ask: ById) -> dict[str, Any]:
    found = find(call, ask.experiment_id)
    if found.lifecycle is not Lifecycle.DELETED:
        raise Refused(f"No Experiment with id={found.id} exists", errors.MISSING)
    call.run(service.restore_experiment, commands.OneExperiment(id=found.id))
    return {}


def rename(call: Call, ask: Rename) -> dict[str, Any]:
    checks.experiment_name(ask.new_name)
    found = find(call, ask.experiment_id)
    if found.lifecycle is not Lifecycle.ACTIVE:
        raise Refused("Cannot rename a non-active experiment.", errors.STATE)
    try:
        call.run(
            service.update_experiment,
            commands.UpdateExperiment(id=found.id, name=ask.new_name),
        )
    except Conflict:
        raise Refused(f"Experiment(name={ask.new_name}) already exists.", errors.EXISTS) from None
    return {}


def set_tag(call: Call, ask: SetTag) -> dict[str, Any]:
    checks.tag(ask.key, ask.value, "", checks.EXPERIMENT_TAG)
    found = active(call, ask.experiment_id)
    command = commands.UpdateExperiment(id=found.id, tags={ask.key: ask.value})
    call.run(service.update_experiment, command)
    return {}


def delete_tag(call: Call, ask: SetTag) -> dict[str, Any]:
    found = active(call, ask.experiment_id)
    if ask.key not in found.tags:
        raise Refused(
            f"No tag with name: {ask.key} in experiment with id {found.id}", errors.MISSING
        )
    command = commands.UpdateExperiment(id=found.id, untag=[ask.key])
    call.run(service.update_experiment, command)
    return {}


def search(call: Call, ask: Search) -> dict[str, Any]:
    found = call.run(
        service.search_experiments,
        commands.SearchExperiments(
            filter=ask.filter,
            order=ask.order_by,
            view=render.view(ask.view_type),
            limit=checks.at_most(ask.max_results, 1_000, _PAGE),
            token=ask.page_token,
        ),
    )
    return given(
        experiments=[render.experiment(each) for each in found.experiments],
        next_page_token=found.next or None,
    )


_AT = "/mlflow/experiments"
_ID = ("experiment_id",)

ENDPOINTS = (
    Endpoint("POST", f"{_AT}/create", Create, create, ("name",)),
    Endpoint("GET", f"{_AT}/get", ById, get, _ID),
    Endpoint("GET", f"{_AT}/get-by-name", ByName, get_by_name, ("experiment_name",)),
    Endpoint("POST", f"{_AT}/delete", ById, delete, _ID),
    Endpoint("POST", f"{_AT}/restore", ById, restore, _ID),
    Endpoint("POST", f"{_AT}/update", Rename, rename, (*_ID, "new_name")),
    Endpoint("POST", f"{_AT}/set-experiment-tag", SetTag, set_tag, (*_ID, "key")),
    Endpoint("POST", f"{_AT}/delete-experiment-tag", SetTag, delete_tag, (*_ID, "key")),
    Endpoint("POST", f"{_AT}/search", Search, search),
    Endpoint("GET", f"{_AT}/search", Search, search),
)
