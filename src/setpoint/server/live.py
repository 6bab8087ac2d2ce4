"""The record as it grows, as server-sent events: what keeps pages live."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from setpoint.db.local import LocalBackend
from setpoint.events import store
from setpoint.events.entities import Event

#: Seconds between two looks at the record; one indexed max() each.
LOOK = 0.5
#: Seconds of silence after which a comment shows that the line is alive.
HEARTBEAT = 10.0
#: Events sent at once; a page that is far behind reloads rather than replays.
BATCH = 200


async def live(request: Request) -> Response:
    """Answer GET /live: events after ``Last-Event-ID`` (or ``?after=``), then new ones.

    Without either it starts at the head. Event names are ``change`` with the event as JSON.
    """
    given = request.headers.get("last-event-id") or request.query_params.get("after", "")
    after = int(given) if given.isdecimal() else None
    backend: LocalBackend = request.app.state.backend
    return StreamingResponse(
        stream(backend, after),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def stream(
    backend: LocalBackend,
    after: int | None,
    *,
    look: float = LOOK,
    heartbeat: float = HEARTBEAT,
) -> AsyncGenerator[bytes]:
    """Yield events after `after` (the head if None) as they are recorded, without end."""
    position = await run_in_threadpool(_head, backend) if after is None else after
    yield b"retry: 2000\n\n"
    silence = 0.0
    while True:
        events = await run_in_threadpool(_since, backend, position)
        if events:
            position, silence = events[-1].seq, 0.0
            yield b"".join(_frame(event) for event in events)
            continue
        if silence >= heartbeat:
            silence = 0.0
            yield b"event: beat\ndata:\n\n"
        await asyncio.sleep(look)
        silence += look


def _head(backend: LocalBackend) -> int:
    with backend.reading() as conn:
        return store.head(conn)


def _since(backend: LocalBackend, after: int) -> list[Event]:
    with backend.reading() as conn:
        if store.head(conn) <= after:
            return []
        return store.since(conn, after=after, limit=BATCH)


def _frame(event: Event) -> bytes:
    data = msgspec.json.encode(event, enc_hook=str)
    return b"id: %d\nevent: change\ndata: %s\n\n" % (event.seq, data)
