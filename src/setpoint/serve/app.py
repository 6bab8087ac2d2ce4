"""The inference server's ASGI application: from a request to a reply, no framework.

It is the outermost frame: it finds the protocol of an address, and every error becomes one answer
in the words of that protocol here.
"""

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache, partial
from time import perf_counter_ns
from typing import Any

from msgspec.structs import replace

from setpoint.errors import SetpointError
from setpoint.serve import choosing, cloudevents, http, plain, problems, v2_binary
from setpoint.serve.answering import Answering
from setpoint.serve.batching import Crowded
from setpoint.serve.endpoints import MANY_ROWS, Endpoint
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.ids import name
from setpoint.serve.lane import Head
from setpoint.serve.prediction import Asked
from setpoint.serve.rest import (
    asynchronous,
    invocations,
    jobs,
    open_inference,
    openapi,
    operating,
    streaming,
    tensorflow,
)
from setpoint.serve.rest.contract import Protocol
from setpoint.serve.waiting import Gone, gone

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PROTOCOLS = (
    jobs.PROTOCOL,
    open_inference.PROTOCOL,
    tensorflow.PROTOCOL,
    invocations.SINGLE,
    streaming.PROTOCOL,
    asynchronous.PROTOCOL,
    invocations.NAMED,
    operating.PROTOCOL,  # the rest
)
#: Addresses that name an endpoint, in any of the protocols.
_NAMING = re.compile(r"/(?:v\d+/)?(?:models|endpoints)/(?P<model>[^/:]+)")
_log = logging.getLogger(__name__)


class App(Answering):
    """Answers over HTTP."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self.tracing is not None:
            await self.tracing.http(self._exchange, scope, receive, send)
        else:
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        headers = http.headers_of(scope["headers"])
        protocol = _protocol(path)
        try:
            reply = await self._reply(protocol, scope, headers, receive)
        except Gone:
            return
        except problems.Nowhere as error:
            reply = self._nowhere(protocol, scope["method"], path, error)
        except SetpointError as error:
            reply = self._failed(protocol, error)
            if isinstance(error, Crowded):
                reply = _with(reply, b"retry-after", b"%d" % problems.RETRY_AFTER)
        except Exception:  # noqa: BLE001 - the outermost frame: no traceback reaches a client
            reply = self._broken(protocol, path)
        if b"accept-encoding" in headers:
            reply = http.packed(reply, headers[b"accept-encoding"])
        length = (b"content-length", b"%d" % len(reply.body))
        told = ((b"content-type", reply.kind), length, *reply.headers)
        await send({"type": "http.response.start", "status": reply.status, "headers": told})
        await send({"type": "http.response.body", "body": reply.body})
        self.after()

    async def _reply(
        self, protocol: Protocol, scope: Scope, headers: dict[bytes, bytes], receive: Receive
    ) -> Reply:
        method: str = scope["method"]
        body = b""
        if method == "POST":
            body = await http.body(headers, receive, self._most(scope["path"]))
            gone.set(partial(_hung_up, receive))
            choosing.told.set(headers)
        asked = "GET" if method == "HEAD" else method
        request = Request(asked, scope["path"], headers, body)
        if method == "POST" and cloudevents.is_one(headers):
            return await cloudevents.answered(request, lambda inner: protocol.answer(self, inner))
        return await protocol.answer(self, request)

    def _most(self, path: str) -> int:
        """Return how many bytes of a request are read that was sent to an address."""
        found = self._asked_at(path)
        return http.MOST_BYTES if found is None else found.body

    def _asked_at(self, path: str) -> Endpoint | None:
        """Return what answers at an address of any protocol: who it names, or else the only one."""
        served = self.endpoints.all()
        named = _named_at(path)
        if named is not None:
            return served.get(named)
        return next(iter(served.values())) if len(served) == 1 else None

    def answer_now(self, head: Head, body: bytes) -> Reply | None:
        """Answer a plain request for predictions in this call; None if it has to wait for that."""
        reply = self._soon(head, body)
        if reply is not None and b"accept-encoding" in head.headers:
            return http.packed(reply, head.headers[b"accept-encoding"])
        return reply

    def _soon(self, head: Head, body: bytes) -> Reply | None:
        if head.model:
            return self.infer_now(head.model, body, head.json)
        endpoint = self._asked_at(head.path)
        if endpoint is None or endpoint.slow or endpoint.broken or _is_much(endpoint, body):
            return None
        protocol = _protocol(head.path)
        token = choosing.told.set(head.headers)
        try:
            request = Request("POST", head.path, head.headers, body)
            asking = protocol.asking(self, endpoint, request)
            if asking is None or asking.asked.rows.count >= MANY_ROWS:
                return None
            return asking.written(self.predict_now(asking.asked))
        except SetpointError as error:
            return self._failed(protocol, error)
        except Exception:  # noqa: BLE001 - the outermost frame of this way
            return self._broken(protocol, head.path)
        finally:
            choosing.told.reset(token)

    def infer_now(self, model: str, body: bytes, json: int = 0) -> Reply | None:
        """Answer a request of V2 in this call; None if it has to wait for that.

        Args:
            model: The endpoint's.
            body: Of the request.
            json: How many bytes of it are JSON, raw tensors following; 0: all.
        """
        try:
            endpoint = self.endpoint(model)
            if endpoint.slow or _is_much(endpoint, body, raw=bool(json)):
                return None
            reply = self._plain(endpoint, body, json) if endpoint.plain else None
            if reply is not None:
                return reply
            started = perf_counter_ns()
            request = open_inference.read(body, str(json) if json else "")
            if endpoint.settings.key_header:
                return None  # the long way has it
            given = open_inference.named(self, endpoint, request, started)
            if given.rows.count >= MANY_ROWS:
                return None
            return open_inference.replied(self.predict_now(given), request)
        except SetpointError as error:
            return self._failed(open_inference.PROTOCOL, error)
        except Exception:  # noqa: BLE001 - the outermost frame of this way
            return self._broken(open_inference.PROTOCOL, model)

    def _failed(self, protocol: Protocol, error: SetpointError) -> Reply:
        status = problems.status_of(error)
        self.metrics.errs(str(status))
        return protocol.failed(status, error)

    def _nowhere(
        self, protocol: Protocol, method: str, path: str, error: problems.Nowhere
    ) -> Reply:
        """Return the reply to who asks at no address, or at one that takes other methods."""
        allowed = openapi.methods(path)
        if not allowed or method in allowed.split(", "):
            return self._failed(protocol, error)
        wrong = problems.NotAllowed(
            f"{path[:200]} is not asked by {method}", hint=f"it takes {allowed}"
        )
        return _with(self._failed(protocol, wrong), b"allow", allowed.encode())

    def _broken(self, protocol: Protocol, path: str) -> Reply:
        """Return the reply to what should not have failed: no traceback reaches a client."""
        _log.exception("request failed", extra={"path": path})
        return self._failed(protocol, SetpointError(problems.FAILED))

    def _plain(self, endpoint: Endpoint, body: bytes, json: int) -> Reply | None:
        """Answer a plain request as `open_inference` would; None for any other."""
        started = perf_counter_ns()
        inputs = endpoint.inputs
        found = plain.read_raw(body, json, inputs) if json else plain.read(body, inputs)
        if found is None:
            return None
        request, rows = found
        if rows.count >= MANY_ROWS:
            return None
        if endpoint.needs is not None and json:  # of JSON a plain request lacks nothing
            endpoint.needs.check(rows)
        at_us = self.micros()
        named = name(request.id or "", request.parameters, rows.count, at_us)
        asked = Asked(endpoint, rows, started, at_us, *named)
        scored = self.scored(asked)
        if scored is None:
            return None
        if json and plain.is_raw_wanted(request):
            return v2_binary.reply(*plain.encoded_raw(asked, scored))
        return Reply(plain.encoded(asked, scored))


def _with(reply: Reply, name: bytes, value: bytes) -> Reply:
    """Return a reply with one more header."""
    return replace(reply, headers=(*reply.headers, (name, value)))


def _is_much(endpoint: Endpoint, body: bytes, *, raw: bool = False) -> bool:
    """Tell whether a body is too long, or surely of too many rows to be scored at once.

    Values stand between commas, whatever the format, and ids and keys may add some.
    """
    size = len(body)
    if size > endpoint.body:
        return True
    most = 2 * MANY_ROWS * len(endpoint.inputs.specs)
    return not raw and size > 2 * most and body.count(b",") >= most


@lru_cache(maxsize=1024)
def _named_at(path: str) -> str | None:
    """Return the endpoint that an address of any protocol names, None if it names none."""
    found = _NAMING.match(path)
    return None if found is None else found["model"]


@lru_cache(maxsize=1024)
def _protocol(path: str) -> Protocol:
    return next(one for one in _PROTOCOLS if one.owns(path))


async def _hung_up(receive: Receive) -> None:
    """Return once the client of a request that was read whole has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
