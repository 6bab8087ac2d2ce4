"""Bodies that are too large to hold, taken a megabyte at a time."""

from collections.abc import AsyncIterator

from starlette.requests import Request

from setpoint.artifacts.contract import CHUNK


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield a request's body in pieces of a megabyte, the last one smaller.

    A connection hands over 64 KB at a time, and each piece is written in a thread: so many
    times less is a file's way there.

    Raises:
        ClientDisconnect: If the connection ends before the body.
    """
    held = bytearray()
    async for some in request.stream():
        held += some
        if len(held) >= CHUNK:
            yield bytes(held)
            held = bytearray()
    if held:
        yield bytes(held)
