"""What operators and the controller ask: health, metrics, and whether all is followed."""

import asyncio

import msgspec
from msgspec import Struct

from setpoint.errors import Conflict
from setpoint.serve import v2
from setpoint.serve.answering import Answering
from setpoint.serve.decoding import read
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.rest import jobs, open_inference
from setpoint.serve.rest.contract import Protocol, failed, nowhere

_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


class _Sync(Struct):
    """What ``POST /-/sync`` waits for."""

    generation: int = 0
    model: str | None = None


_sync = msgspec.json.Decoder(_Sync)


async def _answer(serving: Answering, request: Request) -> Reply:
    path = request.path
    if request.method == "POST" and path == "/-/sync":
        return await _synced(serving, read(_sync.decode, request.body or b"{}", "sync request"))
    if request.method == "GET" and path == "/healthz":
        return open_inference.ready(serving)
    if request.method == "GET" and path == "/":
        return Reply(v2.encode({"status": "alive"}))  # where KServe's V1 clients look
    if request.method == "GET" and path == "/metrics":
        served = serving.endpoints.all().items()
        generations = {name: endpoint.generation for name, endpoint in served}
        text = serving.metrics.text(log_bytes=serving.log.bytes, generations=generations)
        text += jobs.metrics(serving.jobs)
        return Reply(text.encode(), kind=_PROMETHEUS)
    raise nowhere(request, open_inference.HINT)


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
