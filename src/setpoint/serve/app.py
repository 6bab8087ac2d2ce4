"""The inference server's ASGI application: from a request to a reply, no framework.

It is the outermost frame: it finds the protocol of an address, and every error becomes one answer
in the words of that protocol here.
"""

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from time import perf_counter_ns
from typing import Any

from msgspec.structs import replace

from setpoint.errors import SetpointError
from setpoint.serve import choosing, cloudevents, http, plain, problems, v2, v2_binary
from setpoint.serve.answering import ROLES, Answering, Gone, Job, gone
from setpoint.serve.batching import Crowded
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.ids import name
from setpoint.serve.rest import invocations, jobs, open_inference, operating, tensorflow
from setpoint.serve.rest.contract import Protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PROTOCOLS = (
    jobs.PROTOCOL,
    open_inference.PROTOCOL,
    tensorflow.PROTOCOL,
    invocations.SINGLE,
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
        headers: dict[bytes, bytes] = dict(scope["headers"])
        protocol = next(one for one in _PROTOCOLS if one.owns(path))
        try:
            reply = await self._reply(protocol, scope, headers, receive)
        except Gone:
            return
        except SetpointError as error:
            reply = protocol.failed(problems.status_of(error), error)
            if isinstance(error, Crowded):
                again = (b"retry-after", b"%d" % problems.RETRY_AFTER)
                reply = replace(reply, headers=(*reply.headers, again))
        except Exception:  # noqa: BLE001 - the outermost frame: no traceback reaches a client
            _log.exception("request failed", extra={"path": path})
            reply = protocol.failed(500, SetpointError(problems.FAILED))
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
        served = self.endpoints.all()
        named = _NAMING.match(path)
        if named is not None:
            found = served.get(named["model"])
        else:
            found = next(iter(served.values())) if len(served) == 1 else None
        return http.MOST_BYTES if found is None else found.body

    def infer_now(self, model: str, body: bytes, json: int = 0) -> tuple[int, bytes, int] | None:
        """Answer a V2 infer request in this call; None if its model is too slow for that.

        Args:
            model: The endpoint's.
            body: Of the request.
            json: How many bytes of it are JSON, raw tensors following; 0: all.

        Returns:
            Status, body, and how many bytes of that are JSON.
        """
        try:
            endpoint = self.endpoint(model)
            if endpoint.slow or len(body) > endpoint.body:
                return None
            answer = self._plain(endpoint, body, json) if endpoint.plain else None
            if answer is not None:
                return 200, *answer
            started = perf_counter_ns()
            request = open_inference.read(body, str(json) if json else "")
            if endpoint.arms or choosing.is_named(request.parameters):
                return None  # a header tells who answered
            given = open_inference.named(self, endpoint, request, started)
            predicted = self.predict_now(given)
            if v2_binary.is_wanted(request):
                told = open_inference.written(predicted, request.outputs, raw=True)
                return 200, *v2_binary.answer(told, request)
            return 200, v2.encode(open_inference.written(predicted, request.outputs)), 0
        except SetpointError as error:
            return problems.status_of(error), open_inference.PROTOCOL.failed(0, error).body, 0
        except Exception:  # noqa: BLE001 - the outermost frame of this way
            _log.exception("request failed", extra={"model": model})
            failed = SetpointError(problems.FAILED)
            return 500, open_inference.PROTOCOL.failed(500, failed).body, 0

    def _plain(self, endpoint: Endpoint, body: bytes, json: int) -> tuple[bytes, int] | None:
        """Answer a plain request as `asked`, `scoring.score` and `finish` would."""
        started = perf_counter_ns()
        inputs = endpoint.inputs
        found = plain.read_raw(body, json, inputs) if json else plain.read(body, inputs)
        if found is None:
            return None
        request, rows = found
        at_us = self.micros()
        request_id, ids, keys = name(request.id or "", request.parameters, rows.count, at_us)
        scored = plain.score(endpoint, rows, keys)
        if scored is None:
            return None
        micros = (perf_counter_ns() - started) // 1000
        record = plain.record(endpoint, rows, scored, ids, request_id, at_us, micros)
        if endpoint.keeping is None:
            self.log.append(record)
        else:
            self.keeper.answered(endpoint.keeping, record)
        self.metrics.answered(
            endpoint.model, scored.version, ROLES[scored.role], 200, rows.count, micros, at_us
        )
        if not endpoint.alone:
            self.owe(Job(endpoint, [scored.part(rows)], ids, request_id, at_us))
        parameters = v2.AnswerParameters(ids, record.versions)
        if json and plain.is_raw_wanted(request):
            return plain.encoded_raw(endpoint.model, scored, request_id, parameters)
        return plain.encoded(endpoint.model, scored, request_id, parameters), 0


async def _hung_up(receive: Receive) -> None:
    """Return once the client of a request that was read whole has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
