"""CloudEvents 1.0 over HTTP, as KServe's inference services take and give them.

In binary mode the attributes are headers and the body is the request of any protocol; in
structured mode both stand in one JSON document. The reply comes in the mode of the request.

Source: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.serve import v2
from setpoint.serve.decoding import read, unbase64
from setpoint.serve.exchange import JSON, Reply, Request

_STRUCTURED = b"application/cloudevents+json"
_RESPONSE = "org.kubeflow.serving.inference.response"
_SOURCE = "setpoint"
_VERSION = "1.0"


class _Event(Struct):
    """An event in structured mode."""

    id: str
    source: str
    type: str
    specversion: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    data_base64: str | None = None  #: the same as bytes, which is how some clients send it


_event = msgspec.json.Decoder(_Event)


def is_one(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a request is an event."""
    return b"ce-specversion" in headers or _is_structured(headers)


async def answered(request: Request, answer: Callable[[Request], Awaitable[Reply]]) -> Reply:
    """Return the event that answers a request's; an error is a plain reply, as without an event.

    Raises:
        Invalid: If it is no event.
    """
    if not _is_structured(request.headers):
        id_ = _required(request.header(b"ce-id"), request.header(b"ce-specversion"))
        reply = await answer(request)
        found = _attributes(id_)
        headers = tuple((f"ce-{name}".encode(), value.encode()) for name, value in found.items())
        return Reply(reply.body, reply.status, reply.kind, (*reply.headers, *headers))
    event = read(_event.decode, request.body, "event")
    _required(event.id, event.specversion)
    inner = {**request.headers, b"content-type": JSON}
    reply = await answer(Request(request.method, request.path, inner, _data(event)))
    if reply.kind != JSON:
        return reply
    body: dict[str, Any] = {
        **_attributes(event.id),
        "datacontenttype": "application/json",
        "data": msgspec.Raw(reply.body),
    }
    return Reply(v2.encode(body), reply.status, _STRUCTURED, reply.headers)


def _required(id_: str, version: str) -> str:
    """Return an event's id.

    Raises:
        Invalid: If it has none, or is of another version of the specification.
    """
    if not id_:
        raise Invalid("the event has no id", where="ce-id", hint="give every event one of its own")
    if version != _VERSION:
        raise Invalid(
            f"events of version {version[:20]!r} are not understood",
            where="ce-specversion",
            hint=f"send {_VERSION}",
        )
    return id_


def _data(event: _Event) -> bytes:
    if event.data_base64 is None:
        return bytes(event.data)
    return unbase64(event.data_base64, "$.data_base64")


def _is_structured(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-type", b"").lower().startswith(_STRUCTURED)


def _attributes(id_: str) -> dict[str, str]:
    return {
        "specversion": _VERSION,
        "id": id_,
        "source": _SOURCE,
        "type": _RESPONSE,
    }
