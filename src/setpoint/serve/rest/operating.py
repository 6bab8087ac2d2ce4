"""What operators and the controller ask: health, metrics, and whether all is followed."""

import asyncio

import msgspec
from msgspec import Struct

from setpoint.errors import Conflict
from setpoint.serve import v2
from setpoint.serve.answering import Answering
from setpoint.serve.decoding import read
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.rest import open_inference, openapi
from setpoint.serve.rest.contract import Protocol, failed, nowhere
from setpoint.serve.siblings import COUNTS, SYNC, Siblings

_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


class _Sync(Struct):
    """What ``POST /-/sync`` waits for."""

    generation: int = 0
    model: str | None = None


_sync = msgspec.json.Decoder(_Sync)


async def _answer(serving: Answering, request: Request) -> Reply:
    path = request.path
    if request.method == "POST" and path == "/-/sync":
        body = request.body or b"{}"
        answer = await _synced(serving, read(_sync.decode, body, "sync request"))
        if serving.siblings is not None:
            await serving.siblings.sync(body)
        return answer
    if request.method == "GET" and path == "/healthz":
        return open_inference.told_ready(serving.unwell())  # with or without models
    if request.method == "GET" and path == "/":
        return Reply(v2.encode({"status": "alive"}))  # where KServe's V1 clients look
    if request.method == "GET" and path == "/openapi.json":
        return Reply(v2.encode(openapi.document(serving)))
    if request.method == "GET" and path == "/metrics":
        told = await serving.counted()
        return Reply(told.metrics.text(told.generations).encode(), kind=_PROMETHEUS)
    if path in {COUNTS, SYNC} and (others := serving.siblings) is not None:
        return await _worker(serving, others, request)
    raise nowhere(request, open_inference.HINT)


async def _worker(serving: Answering, others: Siblings, request: Request) -> Reply:
    """Answer for this process alone, to another one of the same server."""
    if request.path == SYNC:
        return await _synced(serving, read(_sync.decode, request.body, "sync request"))
    mine = serving.counts()
    others.keep(mine)
    return Reply(msgspec.msgpack.encode(mine), kind=b"application/msgpack")


async def _synced(serving: Answering, asked: _Sync) -> Reply:
    """Answer once what the database says is served, and what is owed is scored."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, lambda: serving.endpoints.refresh(again=True))
    await serving.settled()
    served = {name: found.generation for name, found in serving.endpoints.all().items()}
    if asked.model is not None and served.get(asked.model, 0) < asked.generation:
        raise Conflict(
            f"{asked.model!r} serves generation {served.get(asked.model, 0)}, "
            f"not {asked.generation}",
            hint="its live version does not load, as the server's log says; "
            "or that generation does not exist yet",
        )
    return Reply(v2.encode({"generations": served, "position": serving.log.position}))


PROTOCOL = Protocol(lambda _path: True, _answer, failed)
