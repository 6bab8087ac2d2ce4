"""The edges of HTTP: bodies in, errors and descriptions out."""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.errors import Denied, Invalid, SetpointError
from setpoint.serve import v2
from setpoint.serve.endpoints import Endpoint

MOST_BYTES = 10_000_000  #: of a body, unpacked
JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
TEXT_OK = -200  #: a status 200 whose body is Prometheus text
PATHS = (
    "try GET /v2, GET /v2/models/MODEL, POST /v2/models/MODEL/infer, "
    "POST /v2/models/MODEL/labels, GET /metrics"
)

_WBITS = {b"gzip": 31, b"deflate": 15}


class TooLarge(Invalid):
    """The body is longer than the server reads."""

    code = "too-large"


class Gone(Exception):
    """The client hung up before its request was complete."""


class SyncRequest(Struct):
    """What ``POST /-/sync`` waits for."""

    generation: int = 0
    model: str | None = None


async def body(
    scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
) -> bytes:
    """Return the whole body, unpacked.

    Raises:
        TooLarge: If it is longer than `MOST_BYTES`; the rest is not kept.
        Denied: If a browser sends it for another site's page.
        Gone: If the client hangs up.
    """
    encoding = b""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if int(value) > MOST_BYTES:
                raise _too_large()
        elif name == b"content-encoding":
            encoding = value
        elif name == b"origin":
            raise Denied(
                "requests from web pages are refused",
                where=value.decode("latin-1"),
                hint="call the inference port from a program",
            )
        elif name == b"inference-header-content-length":
            raise Invalid("binary tensors are not understood yet", hint="send the data as JSON")
    message = await receive()
    got: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Gone
    if message.get("more_body"):
        got = await _rest(got, receive)
    return _unpacked(got, encoding) if encoding else got


async def _rest(first: bytes, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    chunks, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MOST_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return b"".join(chunks)


def _unpacked(packed: bytes, encoding: bytes) -> bytes:
    name = encoding.strip().lower()
    if name == b"identity":
        return packed
    if name not in _WBITS:
        raise Invalid(
            f"the content encoding {name.decode('latin-1')!r} is not understood",
            hint="use gzip, deflate or none",
        )
    unpacker = zlib.decompressobj(_WBITS[name])
    try:
        plain = unpacker.decompress(packed, MOST_BYTES + 1)
    except zlib.error as error:
        raise Invalid(f"the body is not {name.decode()}: {error}") from None
    if len(plain) > MOST_BYTES:
        raise _too_large()
    return plain


def _too_large() -> TooLarge:
    return TooLarge(
        f"the body is longer than {MOST_BYTES:,} bytes", hint="send fewer rows in a request"
    )


def sync_request(raw: bytes) -> SyncRequest:
    try:
        return msgspec.json.decode(raw or b"{}", type=SyncRequest)
    except msgspec.MsgspecError as error:
        raise Invalid(f"the sync request is not as it should be: {error}") from None


def error(problem: SetpointError) -> bytes:
    """Return ``{"error": what, where and what to do}``, as V2 has it."""
    text = problem.message
    if problem.where:
        text += f" (at {problem.where})"
    if problem.hint:
        text += f"; {problem.hint}"
    return v2.encode({"error": text})


def metadata(endpoint: Endpoint) -> bytes:
    """Return V2's description of a model."""
    known = {i.name: i.datatype for i in endpoint.live.inputs}
    return v2.encode(
        {
            "name": endpoint.model,
            "versions": [str(one.version) for one in endpoint.deployed],
            "platform": "setpoint",
            "inputs": [
                {"name": name, "datatype": datatype, "shape": [-1]}
                for name, datatype in known.items()
            ],
            "outputs": [{"name": v2.OUTPUT, "datatype": "FP64", "shape": [-1]}],
        }
    )
