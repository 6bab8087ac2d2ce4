"""Artifacts over HTTP, by address: sent and taken in pieces, never whole in memory."""

from collections.abc import Iterator

import msgspec
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.errors import Invalid, SetpointError
from setpoint.server import api, problems
from setpoint.server.pieces import feed


def routes() -> list[Route]:
    """Return the endpoints: GET, HEAD and PUT of an object; POST asks which are missing."""
    return [
        Route("/objects", _missing, methods=["POST"]),
        Route("/objects/{address}", _send, methods=["GET"]),
        Route("/objects/{address}", _take, methods=["PUT"]),
    ]


async def _send(request: Request) -> Response:
    """Send an object's bytes as a file, never as a page of ours."""
    store, address = _asked(request)
    try:
        size = await run_in_threadpool(store.size, address)
        chunks = store.chunks(address)
        first = b"" if request.method == "HEAD" else await run_in_threadpool(next, chunks, b"")
    except SetpointError as error:
        return problems.response(error)
    name = address.rpartition(":")[2][:16]
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-length": str(size),
        "cache-control": "private, max-age=31536000, immutable",
    }
    return StreamingResponse(
        iterate_in_threadpool(_from(first, chunks)),
        media_type="application/octet-stream",
        headers=headers,
    )


async def _missing(request: Request) -> Response:
    """Answer which of the addresses in the body, a JSON array, are not here."""
    store = open_store(request.app.state.backend.settings)
    try:
        asked = msgspec.json.decode(await api.body(request), type=list[str])
        there = await run_in_threadpool(store.find, asked)
    except msgspec.DecodeError as error:
        hint = 'send a JSON array: ["b3:…"]'
        return problems.response(Invalid(f"the addresses cannot be read: {error}", hint=hint))
    except SetpointError as error:
        return problems.response(error)
    missing = [address for address in asked if address not in there]
    return Response(msgspec.json.encode(missing), media_type=api.JSON)


async def _take(request: Request) -> Response:
    """Store the body, provided that its bytes have this address."""
    store, address = _asked(request)
    try:
        if await run_in_threadpool(store.has, address):
            return Response(status_code=204)
        with store.incoming() as file:
            await feed(request, file.write)
            await run_in_threadpool(file.commit, address)
    except SetpointError as error:
        return problems.response(error)
    return Response(status_code=201)


def _asked(request: Request) -> tuple[ObjectStore, str]:
    return open_store(request.app.state.backend.settings), request.path_params["address"]


def _from(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
