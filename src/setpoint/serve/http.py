"""The edges of HTTP: bodies in, whole and unpacked; replies out, packed where it is asked for."""

import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from setpoint.errors import Denied, Invalid
from setpoint.serve.exchange import Reply
from setpoint.serve.problems import TooLarge
from setpoint.serve.waiting import Gone

MOST_BYTES = 10_000_000  #: of a body, unpacked, where no endpoint says otherwise
_LISTS = frozenset((b"accept", b"accept-encoding"))
_LEAST_PACKED = 1_024  #: bytes; packing less makes it no shorter to speak of
_WBITS = {"gzip": 31, "deflate": 15}

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def headers_of(told: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name; of a list that comes in several all values, by commas."""
    found = dict(told)
    if len(found) < len(told):
        for listed in _LISTS & found.keys():
            found[listed] = b", ".join([value for name, value in told if name == listed])
    return found


async def body(headers: Mapping[bytes, bytes], receive: Receive, most: int = MOST_BYTES) -> bytes:
    """Return the whole body, unpacked.

    Raises:
        TooLarge: If it is longer than `most` bytes; the rest is not kept.
        Denied: If a browser sends it for another site's page.
        Gone: If the client hangs up.
    """
    if int(headers.get(b"content-length", b"0")) > most:
        raise _too_large(most)
    if b"origin" in headers:
        raise Denied(
            "requests from web pages are refused",
            where=headers[b"origin"].decode("latin-1"),
            hint="call the inference port from a program",
        )
    message = await receive()
    got: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Gone
    if message.get("more_body"):
        got = await _rest(got, receive, most)
    if len(got) > most:
        raise _too_large(most)
    encoding = headers.get(b"content-encoding")
    return _unpacked(got, encoding, most) if encoding else got


async def _rest(first: bytes, receive: Receive, most: int) -> bytes:
    chunks, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > most:
            raise _too_large(most)
        if not message.get("more_body"):
            return b"".join(chunks)


def _unpacked(packed: bytes, encoding: bytes, most: int) -> bytes:
    name = encoding.decode("latin-1").strip().lower()
    if name == "identity":
        return packed
    if name not in _WBITS:
        raise Invalid(
            f"the content encoding {name!r} is not understood",
            hint="use gzip, deflate or none",
        )
    unpacker = zlib.decompressobj(_WBITS[name])
    try:
        plain = unpacker.decompress(packed, most + 1)
    except zlib.error as error:
        raise Invalid(f"the body is not {name}: {error}") from None
    if len(plain) > most:
        raise _too_large(most)
    if not unpacker.eof or unpacker.unused_data:
        what = "ends before it should" if not unpacker.eof else "has more behind its end"
        raise Invalid(f"the body is not {name}: it {what}")
    return plain


def packed(reply: Reply, accepted: bytes) -> Reply:
    """Return a reply in an encoding that the client accepts, if it is long enough for one."""
    if len(reply.body) < _LEAST_PACKED:
        return reply
    wanted = [part.partition(";") for part in accepted.decode("latin-1").lower().split(",")]
    names = [name.strip() for name, _, weight in wanted if weight.strip() != "q=0"]
    name = next((name for name in ("gzip", "deflate") if name in names), None)
    if name is None:
        return reply
    packer = zlib.compressobj(1, wbits=_WBITS[name])
    body = packer.compress(reply.body) + packer.flush()
    headers = (*reply.headers, (b"content-encoding", name.encode()), (b"vary", b"accept-encoding"))
    return Reply(body, reply.status, reply.kind, headers)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is longer than {most:,} bytes", hint="send fewer rows in a request")
