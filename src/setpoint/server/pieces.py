"""Bodies that are too large to hold: taken by a thread while more of them arrives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from setpoint.artifacts.contract import CHUNK

Take = Callable[[bytes | memoryview], object]

#: The ASGI extension of a large body; its ``rest()`` yields what of it is not yet received.
DIRECT = "setpoint.direct"


async def feed(request: Request, *takers: Take) -> None:
    """Hand all of a request's body to each of `takers`, piece by piece, in a thread.

    A piece is theirs until they return: it may be memory that the next one is read into.

    Raises:
        ClientDisconnect: If the connection ends before the body.
    """
    working: asyncio.Future[None] | None = None
    try:
        async for pieces in _arrived(request):
            if working is not None:
                await working
            working = asyncio.ensure_future(run_in_threadpool(_hand_over, pieces, takers))
    finally:
        if working is not None:
            await working


async def _arrived(request: Request) -> AsyncIterator[Sequence[bytes | memoryview]]:
    """Yield about a megabyte at a time, as it came: joining the pieces costs more than reading."""
    direct = request.scope.get("extensions", {}).get(DIRECT)
    held: list[bytes] = []
    size = 0
    async for piece in request.stream():
        held.append(piece)
        size += len(piece)
        if direct is not None:  # by now, a client that waits to be told has been told to go on
            yield held
            async for more in direct["rest"]():
                yield [more]
            return
        if size >= CHUNK:
            yield held
            held, size = [], 0
    if held:
        yield held


def _hand_over(pieces: Sequence[bytes | memoryview], takers: Sequence[Take]) -> None:
    for piece in pieces:
        for take in takers:
            take(piece)
