"""MLflow's model versions are versions registered from elsewhere; those trained here show too."""

from typing import Any

import msgspec
from msgspec import field

from setpoint.errors import Invalid, NotFound
from setpoint.models.entities import PROMPT
from setpoint.models.registry import commands, rules, service
from setpoint.models.registry.entities import Entry, Stage
from setpoint.models.search import service as search
from setpoint.server.mlflow import (
    checks,
    registry,
    registry_checks,
    registry_render,
    registry_sources,
)
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.experiments import Tag
from setpoint.server.mlflow.logged import store as logged
from setpoint.server.mlflow.registry import Search
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.wire import Message, given

_PAGE = 10_000
_MOST = 200_000
_REGISTERED = "mlflow.modelVersions"  #: the tag of a logged model that lists its versions


class Create(Message, frozen=True, kw_only=True):
    name: str = ""
    source: str = ""
    run_id: str = ""
    tags: list[Tag] = field(default_factory=list)
    run_link: str = ""
    description: str = ""
    model_id: str = ""


class One(Message, frozen=True, kw_only=True):
    name: str = ""
    version: str = ""


class Update(Message, frozen=True, kw_only=True):
    name: str = ""
    version: str = ""
    description: str = ""


class Transition(Message, frozen=True, kw_only=True):
    name: str = ""
    version: str = ""
    stage: str = ""
    archive_existing_versions: bool = False


class SetTag(Message, frozen=True, kw_only=True):
    name: str = ""
    version: str = ""
    key: str = ""
    value: str = ""


def find(call: Call, name: str, version: str) -> Entry:
    """Return a version.

    Raises:
        Refused: If there is none of this number.
    """
    registry_checks.model_name(name)
    number = registry_checks.number(version)
    try:
        return call.run(service.version, commands.OneVersion(model=name, number=number))
    except NotFound:
        raise registry_checks.no_version(name, version) from None


def create(call: Call, ask: Create) -> dict[str, Any]:
    for tag in ask.tags:
        registry_checks.tag(tag.key, tag.value)
    tags = {tag.key: tag.value for tag in ask.tags}
    registry.find(call, ask.name)
    run_id = ask.run_id
    if tags.get(PROMPT, "false").lower() == "true":
        if ask.source not in registry_sources.PLACEHOLDERS:
            raise Refused(
                f"Invalid prompt source: '{ask.source}'. Prompt sources must use an MLflow "
                "placeholder."
            )
    else:
        registry_sources.check(call, ask.source, ask.run_id, ask.model_id)
        run_id = run_id or registry_sources.run_of(call, ask.source, ask.model_id)
    cmd = commands.AddVersion(
        model=ask.name,
        source=ask.source,
        run_id=run_id,
        run_link=ask.run_link,
        logged_model=ask.model_id,
        description=ask.description,
        tags=tags,
        why="registered by MLflow's client",
    )
    entry = call.run(service.add_version, cmd)
    if ask.model_id:
        _note(call, ask.model_id, entry)
    return {"model_version": registry_render.version(entry)}


def get(call: Call, ask: One) -> dict[str, Any]:
    return {"model_version": registry_render.version(find(call, ask.name, ask.version))}


def update(call: Call, ask: Update) -> dict[str, Any]:
    number = find(call, ask.name, ask.version).version.number
    cmd = commands.UpdateVersion(model=ask.name, number=number, description=ask.description)
    return {"model_version": registry_render.version(call.run(service.update_version, cmd))}


def transition(call: Call, ask: Transition) -> dict[str, Any]:
    try:
        stage = rules.stage(ask.stage)
    except Invalid:
        raise registry_checks.stage(ask.stage) from None
    if ask.archive_existing_versions and stage not in {Stage.STAGING, Stage.PRODUCTION}:
        raise Refused(
            "Model version transition cannot archive existing model versions because "
            f"'{ask.stage}' is not an Active stage. Valid stages are ['Staging', 'Production']"
        )
    number = find(call, ask.name, ask.version).version.number
    cmd = commands.MoveToStage(
        model=ask.name, number=number, stage=stage, archive=ask.archive_existing_versions
    )
    return {"model_version": registry_render.version(call.run(service.move_to_stage, cmd))}


def delete(call: Call, ask: One) -> dict[str, Any]:
    number = find(call, ask.name, ask.version).version.number
    cmd = commands.DeleteVersion(model=ask.name, number=number, reason="by MLflow's client")
    call.run(service.delete_version, cmd)
    return {}


def download_uri(call: Call, ask: One) -> dict[str, Any]:
    entry = find(call, ask.name, ask.version)
    return {"artifact_uri": registry_sources.location(call, entry)}


def find_all(call: Call, ask: Search) -> dict[str, Any]:
    found = call.run(
        search.search_versions,
        search.SearchVersions(
            filter=ask.filter,
            order=ask.order_by,
            limit=checks.at_most(ask.max_results, _PAGE, _MOST),
            token=ask.page_token,
        ),
    )
    return given(
        model_versions=[registry_render.version(each) for each in found.versions],
        next_page_token=found.next or None,
    )


def set_tag(call: Call, ask: SetTag) -> dict[str, Any]:
    registry_checks.tag(ask.key, ask.value)
    number = find(call, ask.name, ask.version).version.number
    cmd = commands.SetTags(model=ask.name, number=number, tags={ask.key: ask.value})
    call.run(service.tag, cmd)
    return {}


def delete_tag(call: Call, ask: SetTag) -> dict[str, Any]:
    number = find(call, ask.name, ask.version).version.number
    call.run(service.tag, commands.SetTags(model=ask.name, number=number, untag=[ask.key]))
    return {}


def _note(call: Call, model_id: str, entry: Entry) -> None:
    """Note with a logged model which version was made of it, as MLflow's pages look it up."""

    def note(ctx: Any) -> None:
        known = logged.find(ctx.conn, [model_id])[0].tags.get(_REGISTERED, "[]")
        listed = msgspec.json.decode(known, type=list[dict[str, Any]])
        listed.append({"name": entry.version.model, "version": entry.version.number})
        text = msgspec.json.encode(listed).decode()
        logged.values.put(ctx.conn, model_id, logged.TAG, {_REGISTERED: text})

    call.write(note)


_AT = "/mlflow/model-versions"
_ONE = ("name", "version")

ENDPOINTS = (
    Endpoint("POST", f"{_AT}/create", Create, create, ("name", "source")),
    Endpoint("PATCH", f"{_AT}/update", Update, update, _ONE),
    Endpoint("POST", f"{_AT}/transition-stage", Transition, transition, (*_ONE, "stage")),
    Endpoint("DELETE", f"{_AT}/delete", One, delete, _ONE),
    Endpoint("GET", f"{_AT}/get", One, get, _ONE),
    Endpoint("GET", f"{_AT}/search", Search, find_all),
    Endpoint("GET", f"{_AT}/get-download-uri", One, download_uri, _ONE),
    Endpoint("POST", f"{_AT}/set-tag", SetTag, set_tag, (*_ONE, "key")),
    Endpoint("DELETE", f"{_AT}/delete-tag", SetTag, delete_tag, (*_ONE, "key")),
)
