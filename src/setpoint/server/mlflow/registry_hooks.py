"""MLflow's webhooks are channels of ours: its names of events, its bodies, its signature."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from setpoint.errors import NotFound
from setpoint.events.entities import Event
from setpoint.models.entities import PROMPT
from setpoint.models.registry import store
from setpoint.models.registry.entities import Entry, Model
from setpoint.notify import rules
from setpoint.notify.entities import Channel, Delivery, Message
from setpoint.server.mlflow.registry_render import source

KIND = "mlflow"
TEXT = "mlflow.prompt.text"

#: Tags by which MLflow's clients tell prompts apart; receivers are not told of them.
_INTERNAL = frozenset({PROMPT, TEXT, "_mlflow_prompt_type"})

#: What there is to be told of: each kind of thing, and what can happen to it.
EVENTS = {
    "registered_model": ("created",),
    "model_version": ("created",),
    "model_version_tag": ("set", "deleted"),
    "model_version_alias": ("created", "deleted"),
    "prompt": ("created",),
    "prompt_version": ("created",),
    "prompt_tag": ("set", "deleted"),
    "prompt_version_tag": ("set", "deleted"),
    "prompt_alias": ("created", "deleted"),
    "budget_policy": ("exceeded",),
}

_Told = tuple[str, dict[str, Any]]


class MlflowHook:
    """How MLflow's server tells receivers of changes in its registry."""

    def body(self, conn: Connection, channel: Channel, event: Event) -> str | None:
        told = _told(conn, event)
        if told is None or told[0] not in channel.events:
            return None
        return payload(told[0], told[1], event.at)

    def message(self, delivery: Delivery, secret: str, now: datetime) -> Message:
        headers = {
            "X-MLflow-Delivery-Id": delivery.id,
            "X-MLflow-Timestamp": str(int(now.timestamp())),
        }
        if secret:
            signed = rules.signature(secret.encode(), delivery.id, now, delivery.body)
            headers["X-MLflow-Signature"] = signed
        return Message(id=delivery.id, body=delivery.body, headers=headers)


def payload(name: str, data: dict[str, Any], at: datetime) -> str:
    """Return the body that tells of an event, by MLflow's name of it."""
    entity, _, action = name.partition(".")
    said = {"entity": entity, "action": action, "timestamp": at.isoformat(), "data": data}
    return msgspec.json.encode(said).decode()


def example(name: str) -> dict[str, Any]:
    """Return the data of an event for a trial."""
    entity, _, action = name.partition(".")
    prompt = entity.startswith("prompt")
    data: dict[str, Any] = {"name": "example_prompt" if prompt else "example_model"}
    if "version" in entity or (entity.endswith("alias") and action == "created"):
        data["version"] = "1"
    if entity.endswith("alias"):
        data["alias"] = "example_alias"
    elif entity.endswith("_tag"):
        data["key"] = "example_key"
        if action == "set":
            data["value"] = "example_value"
    else:
        data |= {"tags": {"example_key": "example_value"}, "description": "An example"}
        if entity == "model_version":
            data |= {"source": "models:/123", "run_id": "abcd1234abcd5678"}
        elif entity == "prompt_version":
            data["template"] = "Hello {{name}}!"
    if name == "model_version_alias.deleted":
        data.pop("version")
    return data


def _told(conn: Connection, event: Event) -> _Told | None:
    """Return MLflow's name of an event, and its data; None if it has none."""
    tell = _TELLERS.get(event.kind)
    what, _, place = event.subject.partition(":")
    if tell is None or what not in {"model", "version"}:
        return None
    name, number = place, 0
    if what == "version":
        name, _, text = place.rpartition("/")
        number = int(text)
    model = store.find(conn, name)
    return None if model is None else tell(conn, model, number, event.detail)


def _created(conn: Connection, model: Model, number: int, detail: dict[str, Any]) -> _Told:
    del conn, number, detail
    data = {
        "name": model.model,
        "tags": _public(model.tags) if model.prompt else model.tags,
        "description": model.description or None,
    }
    return "prompt.created" if model.prompt else "registered_model.created", data


def _registered(
    conn: Connection, model: Model, number: int, detail: dict[str, Any]
) -> _Told | None:
    del detail
    entry = _entry(conn, model, number)
    if entry is None:
        return None
    data: dict[str, Any] = {"name": model.model, "version": str(number)}
    data |= {"tags": entry.tags, "description": entry.version.description or None}
    if not model.prompt:
        run_id = entry.version.run_id or None
        return "model_version.created", data | {"source": source(entry), "run_id": run_id}
    data |= {"tags": _public(entry.tags), "template": entry.tags.get(TEXT)}
    return "prompt_version.created", data


def _tagged(conn: Connection, model: Model, number: int, detail: dict[str, Any]) -> _Told | None:
    value = store.tags(conn, model.model, number).get(detail["key"], detail["value"])
    return _of_tag(model, number, "set", {"key": detail["key"], "value": value})


def _untagged(conn: Connection, model: Model, number: int, detail: dict[str, Any]) -> _Told | None:
    del conn
    return _of_tag(model, number, "deleted", {"key": detail["key"]})


def _of_tag(model: Model, number: int, action: str, data: dict[str, Any]) -> _Told | None:
    if number:
        kind = "prompt_version_tag" if model.prompt else "model_version_tag"
        return f"{kind}.{action}", {"name": model.model, "version": str(number), **data}
    # MLflow has no event for the tags of a model as a whole.
    return (f"prompt_tag.{action}", {"name": model.model, **data}) if model.prompt else None


def _alias_moved(conn: Connection, model: Model, number: int, detail: dict[str, Any]) -> _Told:
    del conn
    data = {"name": model.model, "alias": detail["alias"], "version": str(number)}
    return f"{_alias(model)}.created", data


def _alias_dropped(conn: Connection, model: Model, number: int, detail: dict[str, Any]) -> _Told:
    del conn, number
    return f"{_alias(model)}.deleted", {"name": model.model, "alias": detail["alias"]}


def _alias(model: Model) -> str:
    return "prompt_alias" if model.prompt else "model_version_alias"


def _entry(conn: Connection, model: Model, number: int) -> Entry | None:
    try:
        return store.get_entry(conn, model.model, number)
    except NotFound:
        return None


def _public(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key not in _INTERNAL}


_Teller = Callable[[Connection, Model, int, dict[str, Any]], _Told | None]
_TELLERS: dict[str, _Teller] = {
    "model.created": _created,
    "model.registered": _registered,
    "model.tagged": _tagged,
    "model.untagged": _untagged,
    "model.alias_moved": _alias_moved,
    "model.alias_dropped": _alias_dropped,
}
