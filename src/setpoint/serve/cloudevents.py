"""CloudEvents 1.0 over HTTP, as KServe's inference services take and give them.

In binary mode the attributes are headers and the body is the request of any protocol; in
structured mode both stand in one JSON document. The reply comes in the mode of the request.

Source: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.serve import v2
from setpoint.serve.decoding import read
from setpoint.serve.exchange import JSON, Reply, Request

_STRUCTURED = b"application/cloudevents+json"
_RESPONSE = "org.kubeflow.serving.inference.response"
_SOURCE = "setpoint"


class _Event(Struct):
    """An event in structured mode."""

    id: str
    source: str
    type: str
    specversion: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


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
        reply = await answer(request)
        found = _attributes(request.header(b"ce-id"))
        headers = tuple((f"ce-{name}".encode(), value.encode()) for name, value in found.items())
        return Reply(reply.body, reply.status, reply.kind, (*reply.headers, *headers))
    event = read(_event.decode, request.body, "event")
    inner = {**request.headers, b"content-type": JSON}
    reply = await answer(Request(request.method, request.path, inner, bytes(event.data)))
    if reply.kind != JSON:
        return reply
    body: dict[str, Any] = {
        **_attributes(event.id),
        "datacontenttype": "application/json",
        "data": msgspec.Raw(reply.body),
    }
    return Reply(v2.encode(body), reply.status, _STRUCTURED, reply.headers)


def _is_structured(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-type", b"").lower().startswith(_STRUCTURED)


def _attributes(id_: str) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "id": id_,
        "source": _SOURCE,
        "type": _RESPONSE,
    }
