"""MLflow's registered models are our models; its prompts are models with a tag."""

from typing import Any

from msgspec import field

from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.models import service as models
from setpoint.models.entities import PROMPT
from setpoint.models.registry import aliases, commands, rules, service
from setpoint.models.registry.entities import Entry, Model
from setpoint.models.search import service as search
from setpoint.server.mlflow import checks, errors, registry_checks, registry_render
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.experiments import Tag
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.wire import Message, given

_PAGE = 100
_MOST = 1_000


class Create(Message, frozen=True, kw_only=True):
    name: str = ""
    tags: list[Tag] = field(default_factory=list)
    description: str = ""
    deployment_job_id: str = ""


class ByName(Message, frozen=True, kw_only=True):
    name: str = ""


class Rename(Message, frozen=True, kw_only=True):
    name: str = ""
    new_name: str = ""


class Update(Message, frozen=True, kw_only=True):
    name: str = ""
    description: str = ""
    deployment_job_id: str = ""


class Search(Message, frozen=True, kw_only=True):
    filter: str = ""
    max_results: int | None = None
    order_by: list[str] = field(default_factory=list)
    page_token: str = ""


class Latest(Message, frozen=True, kw_only=True):
    name: str = ""
    stages: list[str] = field(default_factory=list)


class SetTag(Message, frozen=True, kw_only=True):
    name: str = ""
    key: str = ""
    value: str = ""


class Alias(Message, frozen=True, kw_only=True):
    name: str = ""
    alias: str = ""
    version: str = ""


def find(call: Call, name: str) -> Model:
    """Return a model.

    Raises:
        Refused: If there is none of this name.
    """
    registry_checks.model_name(name)
    try:
        return call.run(service.about, commands.OneModel(model=name))
    except NotFound:
        raise registry_checks.no_model(name) from None


def create(call: Call, ask: Create) -> dict[str, Any]:
    registry_checks.model_name(ask.name)
    for tag in ask.tags:
        registry_checks.tag(tag.key, tag.value)
    tags = {tag.key: tag.value for tag in ask.tags}
    cmd = commands.CreateModel(model=ask.name, description=ask.description, tags=tags)
    try:
        made = call.run(service.create, cmd)
    except Conflict:
        raise _taken(find(call, ask.name), prompt=PROMPT in tags) from None
    return _shown(call, made)


def get(call: Call, ask: ByName) -> dict[str, Any]:
    return _shown(call, find(call, ask.name))


def rename(call: Call, ask: Rename) -> dict[str, Any]:
    registry_checks.model_name(ask.new_name, "new_name")
    find(call, ask.name)
    try:
        return _shown(
            call, call.run(service.rename, commands.RenameModel(model=ask.name, new=ask.new_name))
        )
    except Conflict as error:
        if "there is a model" not in error.message:
            raise
        raise Refused(
            f"Registered Model (name={ask.new_name}) already exists.", errors.EXISTS
        ) from None


def update(call: Call, ask: Update) -> dict[str, Any]:
    find(call, ask.name)
    cmd = commands.UpdateModel(model=ask.name, description=ask.description)
    return _shown(call, call.run(service.update, cmd))


def delete(call: Call, ask: ByName) -> dict[str, Any]:
    find(call, ask.name)
    call.run(service.delete, commands.DeleteModel(model=ask.name, reason="by MLflow's client"))
    return {}


def find_all(call: Call, ask: Search) -> dict[str, Any]:
    found = call.run(
        search.search,
        search.SearchModels(
            filter=ask.filter,
            order=ask.order_by,
            limit=checks.at_most(ask.max_results, _PAGE, _MOST),
            token=ask.page_token,
        ),
    )
    newest = latest_of(call, [each.model for each in found.models])
    return given(
        registered_models=[
            registry_render.model(each, newest[each.model]) for each in found.models
        ],
        next_page_token=found.next or None,
    )


def latest(call: Call, ask: Latest) -> dict[str, Any]:
    find(call, ask.name)
    newest = latest_of(call, [ask.name])[ask.name]
    try:
        wanted = {rules.stage(text) for text in ask.stages}
    except Invalid:
        raise registry_checks.stage(ask.stages[0]) from None
    shown = [each for each in newest if not wanted or each.version.stage in wanted]
    return given(model_versions=[registry_render.version(each) for each in shown])


def latest_of(call: Call, names: list[str]) -> dict[str, list[Entry]]:
    """Return the newest version of every stage, by model."""
    return call.run(service.latest, commands.LatestVersions(models=names)).versions


def set_tag(call: Call, ask: SetTag) -> dict[str, Any]:
    registry_checks.tag(ask.key, ask.value)
    find(call, ask.name)
    call.run(service.tag, commands.SetTags(model=ask.name, tags={ask.key: ask.value}))
    return {}


def delete_tag(call: Call, ask: SetTag) -> dict[str, Any]:
    find(call, ask.name)
    call.run(service.tag, commands.SetTags(model=ask.name, untag=[ask.key]))
    return {}


def set_alias(call: Call, ask: Alias) -> dict[str, Any]:
    find(call, ask.name)
    registry_checks.alias(ask.alias, new=True)
    number = registry_checks.number(ask.version)
    cmd = models.SetAlias(
        model=ask.name, alias=ask.alias, number=number, reason="by MLflow's client"
    )
    try:
        call.run(models.alias, cmd)
    except NotFound:
        raise registry_checks.no_version(ask.name, ask.version) from None
    return {}


def delete_alias(call: Call, ask: Alias) -> dict[str, Any]:
    find(call, ask.name)
    registry_checks.alias(ask.alias)
    cmd = commands.DropAlias(model=ask.name, alias=ask.alias, reason="by MLflow's client")
    call.run(aliases.unalias, cmd)
    return {}


def by_alias(call: Call, ask: Alias) -> dict[str, Any]:
    model = find(call, ask.name)
    registry_checks.alias(ask.alias)
    if ask.alias.lower() == "latest":
        newest = latest_of(call, [ask.name])[ask.name]
        if not newest:
            raise Refused(f"Latest version not found for model {ask.name}.", errors.MISSING)
        last = max(newest, key=lambda each: each.version.number)
        return {"model_version": registry_render.version(last)}
    number = model.aliases.get(ask.alias)
    if number is None:
        raise Refused(f"Registered model alias {ask.alias} not found.")
    entry = call.run(service.version, commands.OneVersion(model=ask.name, number=number))
    return {"model_version": registry_render.version(entry)}


def _shown(call: Call, model: Model) -> dict[str, Any]:
    newest = latest_of(call, [model.model])[model.model]
    return {"registered_model": registry_render.model(model, newest)}


def _taken(known: Model, *, prompt: bool) -> Refused:
    """Return the refusal of a name that is taken, by a model or by a prompt."""
    old = "Prompt" if known.prompt else "Registered Model"
    new = "Prompt" if prompt else "Registered Model"
    if old == new:
        return Refused(f"{new} (name={known.model}) already exists.", errors.EXISTS)
    return Refused(
        f"Tried to create a {new.lower()} with name {known.model!r}, but the name is already "
        f"taken by a {old.lower()}. MLflow does not allow creating a model and a prompt with "
        "the same name.",
        errors.EXISTS,
    )


_AT = "/mlflow/registered-models"
_NAME = ("name",)

ENDPOINTS = (
    Endpoint("POST", f"{_AT}/create", Create, create, _NAME),
    Endpoint("POST", f"{_AT}/rename", Rename, rename, (*_NAME, "new_name")),
    Endpoint("PATCH", f"{_AT}/update", Update, update, _NAME),
    Endpoint("DELETE", f"{_AT}/delete", ByName, delete, _NAME),
    Endpoint("GET", f"{_AT}/get", ByName, get, _NAME),
    Endpoint("GET", f"{_AT}/search", Search, find_all),
    Endpoint("POST", f"{_AT}/get-latest-versions", Latest, latest, _NAME),
    Endpoint("GET", f"{_AT}/get-latest-versions", Latest, latest, _NAME),
    Endpoint("POST", f"{_AT}/set-tag", SetTag, set_tag, (*_NAME, "key")),
    Endpoint("DELETE", f"{_AT}/delete-tag", SetTag, delete_tag, (*_NAME, "key")),
    Endpoint("POST", f"{_AT}/alias", Alias, set_alias, (*_NAME, "alias", "version")),
    Endpoint("DELETE", f"{_AT}/alias", Alias, delete_alias, (*_NAME, "alias")),
    Endpoint("GET", f"{_AT}/alias", Alias, by_alias, (*_NAME, "alias")),
)
