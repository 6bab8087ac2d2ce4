"""Proto JSON: how MLflow's messages look in a request's body, query and answer.

Their rules: names in snake_case (camelCase is read too), null is absent, 64-bit integers may
come as text, NaN and infinities as the words ``NaN``, ``Infinity``, ``-Infinity``; enums by
name; fields we don't know are ignored. MLflow's server answers integers as numbers.
"""

import json
import math
import re
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from starlette.datastructures import QueryParams
from starlette.responses import Response

from setpoint.server.mlflow.errors import Refused, missing, wrong_type


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what is asked. A name it does not know makes `decode` look closer, not fail."""


T = TypeVar("T", bound=Message)

_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_PLACE = re.compile(r"`\$\.?(.*)`$")
_ABSENT = re.compile(r"missing required field `(\w+)`")
_STEP = re.compile(r"[^.\[\]]+")


def decode(content: bytes, message: type[T]) -> T:
    """Return the message in a request's body; an empty body is an empty message.

    Raises:
        Refused: If it is no JSON object, or a field is of another type.
    """
    try:
        return msgspec.json.decode(content or b"{}", type=message, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _lenient(content, message)


def from_query(query: QueryParams, message: type[T]) -> T:
    """Return the message in a request's query, where lists are repeated names."""
    fields = {field.name: field.type for field in msgspec.structs.fields(message)}
    given: dict[str, Any] = {}
    for name in query:
        known = name if name in fields else _CAMEL.sub(r"_\1", name).lower()
        if known in fields:
            repeated = str(fields[known]).startswith("list")
            given[known] = query.getlist(name) if repeated else query[name]
    return convert(given, message)


def convert(given: Any, message: type[T]) -> T:
    """Return a message from plain values, telling which of them is wrong."""
    try:
        return msgspec.convert(given, message, strict=False)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        path = place.group(1) if place else ""
        absent = _ABSENT.search(str(error))
        if absent:
            raise missing(f"{path}.{absent.group(1)}".removeprefix(".")) from None
        raise wrong_type(path, _at(given, path)) from None


def require(message: Message, names: tuple[str, ...]) -> None:
    """Refuse a message in which one of `names` is absent or empty."""
    for name in names:
        if getattr(message, name) in {None, ""}:
            raise missing(name)


def answer(body: Any) -> Response:
    """Return a message (a struct or a dictionary) as MLflow's server sends it."""
    return Response(msgspec.json.encode(body), media_type="application/json")


def number(value: float) -> float | str:
    """Return a double as proto JSON says it."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields of a message that are set: None and empty lists are not."""
    return {name: value for name, value in fields.items() if value is not None and value != []}


def pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a mapping as MLflow's list of keys and values."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _lenient(content: bytes, message: type[T]) -> T:
    """Read what other clients send: camelCase, nulls, bare NaN, JSON in a JSON string."""
    try:
        found = json.loads(content)
        if isinstance(found, str):
            found = json.loads(found)
    except (ValueError, RecursionError):
        raise Refused("The request's body is not valid JSON.", "MALFORMED_REQUEST") from None
    if not isinstance(found, dict):
        raise Refused("The request's body is not a JSON object.", "MALFORMED_REQUEST")
    return convert(_shaped(found, message), message)


def _shaped(value: Any, kind: Any) -> Any:
    """Return `value` with the names of `kind`'s fields, and without nulls.

    What has no fields of ours, such as a map of tags, keeps its names.
    """
    if isinstance(value, list):
        inner = next((arg for arg in get_args(kind)), Any)
        return [_shaped(each, inner) for each in value]
    message = _message(kind)
    if message is None or not isinstance(value, dict):
        return value
    kinds = get_type_hints(message)
    found = {}
    for name, each in value.items():
        known = name if name in kinds else _CAMEL.sub(r"_\1", name).lower()
        if known in kinds and each is not None:
            found[known] = _shaped(each, _some(kinds[known]))
    return found


def _some(kind: Any) -> Any:
    """Return a type without its None."""
    return next((arg for arg in get_args(kind) if get_origin(arg) is list), kind)


def _message(kind: Any) -> type[msgspec.Struct] | None:
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _at(given: Any, path: str) -> Any:
    """Return the value at a place such as ``metrics[3].value``, None where there is none."""
    for step in _STEP.findall(path):
        try:
            given = given[int(step)] if isinstance(given, list) else given[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return given
