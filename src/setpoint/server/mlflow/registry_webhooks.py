"""MLflow's calls about webhooks: they are channels, delivered like all others."""

import re
from typing import Any

from msgspec import UNSET, UnsetType, field

from setpoint.errors import Invalid, NotFound
from setpoint.notify import deliver, service
from setpoint.notify.entities import Channel
from setpoint.notify.formats import FORMATS, Format
from setpoint.server.mlflow import checks, errors
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.registry_hooks import EVENTS, KIND, MlflowHook, example, payload
from setpoint.server.mlflow.render import millis
from setpoint.server.mlflow.routing import Call, Endpoint
from setpoint.server.mlflow.wire import Message, given

#: How every kind of channel is told, MLflow's included.
KINDS: dict[str, Format] = {**FORMATS, KIND: MlflowHook()}

_NAME = re.compile(r"(?=.{1,63}$)[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
_ACTIVE, _DISABLED = "ACTIVE", "DISABLED"
_PAGE, _MOST = 100, 1_000
#: The numbers of MLflow's protocol definition, for clients that send those.
_ENTITIES = ("entity_unspecified", *EVENTS)
_ACTIONS = ("action_unspecified", "created", "updated", "deleted", "set", "exceeded")


class What(Message, frozen=True, kw_only=True):
    entity: str | int = ""
    action: str | int = ""

    @property
    def name(self) -> str:
        """MLflow's name of the event."""
        return f"{_word(self.entity, _ENTITIES)}.{_word(self.action, _ACTIONS)}"


class Create(Message, frozen=True, kw_only=True):
    name: str = ""
    description: str = ""
    url: str = ""
    events: list[What] = field(default_factory=list)
    secret: str = ""
    status: str | int = _ACTIVE


class List(Message, frozen=True, kw_only=True):
    max_results: int | None = None
    page_token: str = ""


class Update(Message, frozen=True, kw_only=True):
    webhook_id: str = ""
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    events: list[What] = field(default_factory=list)
    secret: str | UnsetType = UNSET
    status: str | int | UnsetType = UNSET


class ById(Message, frozen=True, kw_only=True):
    webhook_id: str = ""


class Test(Message, frozen=True, kw_only=True):
    webhook_id: str = ""
    event: What | None = None


def create(call: Call, ask: Create) -> dict[str, Any]:
    _check_name(ask.name)
    cmd = service.AddChannel(
        name=ask.name,
        kind=KIND,
        url=ask.url,
        events=_events(ask.events),
        description=ask.description,
        enabled=_enabled(ask.status),
        secret=ask.secret,
    )
    return {"webhook": _shown(_told(lambda: call.run(service.add, cmd).channel))}


def listed(call: Call, ask: List) -> dict[str, Any]:
    size = checks.at_most(ask.max_results, _PAGE, _MOST)
    found = call.run(service.ls, service.ListChannels()).channels
    ours = [each for each in found if each.kind == KIND]
    ids = [each.id for each in ours]
    start = ids.index(ask.page_token) + 1 if ask.page_token in ids else 0
    page = ours[start : start + size]
    more = page[-1].id if start + size < len(ours) else None
    return given(webhooks=[_shown(each) for each in page], next_page_token=more)


def get(call: Call, _: ById) -> dict[str, Any]:
    return {"webhook": _shown(_find(call))}


def update(call: Call, ask: Update) -> dict[str, Any]:
    found = _find(call)
    if ask.name is not UNSET:
        _check_name(ask.name)
    cmd = service.UpdateChannel(
        channel=found.id,
        name=ask.name,
        url=ask.url,
        description=ask.description,
        secret=ask.secret,
        events=_events(ask.events) if ask.events else UNSET,
        enabled=UNSET if ask.status is UNSET else _enabled(ask.status),
    )
    return {"webhook": _shown(_told(lambda: call.run(service.update, cmd)))}


def delete(call: Call, _: ById) -> dict[str, Any]:
    call.run(service.rm, service.OneChannel(channel=_find(call).id))
    return {}


def test(call: Call, ask: Test) -> dict[str, Any]:
    found = _find(call)
    name = _events([ask.event])[0] if ask.event else found.events[0]
    body = payload(name, example(name), call.backend.clock.now())
    outcome = deliver.trial(call.backend, found.id, formats=KINDS, body=body)
    failed = f"Failed to test webhook: {outcome.error}" if outcome.status is None else None
    return {
        "result": given(
            success=not outcome.error,
            response_status=outcome.status,
            response_body=outcome.answer or None,
            error_message=failed,
        )
    }


def _find(call: Call) -> Channel:
    wanted = call.path["webhook_id"]
    try:
        found = call.run(service.show, service.OneChannel(channel=wanted))
    except NotFound:
        found = None
    if found is None or found.id != wanted or found.kind != KIND:
        raise Refused(f"Webhook with ID {wanted} not found.", errors.MISSING)
    return found


def _shown(channel: Channel) -> dict[str, Any]:
    events = []
    for name in channel.events:
        entity, _, action = name.partition(".")
        events.append({"entity": entity.upper(), "action": action.upper()})
    return given(
        webhook_id=channel.id,
        name=channel.name,
        description=channel.description or None,
        url=channel.url,
        events=events,
        status=_ACTIVE if channel.enabled else _DISABLED,
        creation_timestamp=millis(channel.created_at),
        last_updated_timestamp=millis(channel.updated_at),
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refused(
            f"Webhook name {name!r} is invalid. It must start and end with a letter or digit, "
            "be less than 63 characters long, and contain only letters, digits, dots (.), "
            "underscores (_), and hyphens (-)."
        )


def _events(given_events: list[What]) -> list[str]:
    if not given_events:
        raise Refused("Webhook events must be a non-empty list of WebhookEvent objects: [].")
    for each in given_events:
        entity, _, action = each.name.partition(".")
        actions = EVENTS.get(entity, ())
        if action not in actions:
            raise Refused(
                f"Invalid action '{action}' for entity '{entity}'. "
                f"Valid actions are: {sorted(actions)}"
            )
    return [each.name for each in given_events]


def _enabled(status: str | int) -> bool:
    """Return whether a status, by name or by number, is the active one."""
    if status not in {_ACTIVE, _DISABLED, 1, 2}:
        raise Refused(f"Invalid webhook status: {status}")
    return status in {_ACTIVE, 1}


def _word(value: str | int, words: tuple[str, ...]) -> str:
    if isinstance(value, int):
        return words[value] if 0 <= value < len(words) else str(value)
    return value.lower()


def _told(run: Any) -> Channel:
    """Run what a channel refuses, and tell it in MLflow's words."""
    try:
        found: Channel = run()
    except Invalid as error:
        raise Refused(f"Invalid webhook: {error.message}; {error.hint}") from None
    return found


_AT = "/mlflow/webhooks"
_ONE = f"{_AT}/{{webhook_id}}"

ENDPOINTS = (
    Endpoint("POST", _AT, Create, create, ("name", "url")),
    Endpoint("GET", _AT, List, listed),
    Endpoint("GET", _ONE, ById, get),
    Endpoint("PATCH", _ONE, Update, update),
    Endpoint("DELETE", _ONE, ById, delete),
    Endpoint("POST", f"{_ONE}/test", Test, test),
)
