"""Bodies that are too large to hold: taken by a thread while more of them arrives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from setpoint.artifacts.contract import CHUNK

Take = Callable[[bytes], object]


async def feed(request: Request, *takers: Take) -> None:
    """Hand all of a request's body to each of `takers`, piece by piece, in a thread.

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


async def _arrived(request: Request) -> AsyncIterator[list[bytes]]:
    """Yield about a megabyte at a time, as it came: joining the pieces costs more than reading."""
    held: list[bytes] = []
    size = 0
    async for piece in request.stream():
        held.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield held
            held, size = [], 0
    if held:
        yield held


def _hand_over(pieces: Sequence[bytes], takers: Sequence[Take]) -> None:
    for piece in pieces:
        for take in takers:
            take(piece)
