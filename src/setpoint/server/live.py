"""The record as it grows, and a run's curves, as server-sent events: what keeps pages live."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound
from setpoint.events import store
from setpoint.events.entities import Event
from setpoint.runs.service import Tail, tail

#: Seconds between two looks at the record; one indexed max() each.
LOOK = 0.5
#: Seconds of silence after which a comment shows that the line is alive.
HEARTBEAT = 10.0
#: Events sent at once; a page that is far behind reloads rather than replays.
BATCH = 200
_LOOK_BACK = 1_000  #: numbers of events that may still become visible
_PATIENCE = 120  #: looks in which they may


async def live(request: Request) -> Response:
    """Answer GET /live: events after ``Last-Event-ID`` (or ``?after=``), then new ones.

    Without either it starts at the head. Events are ``change`` with the event as JSON, and of
    the run that ``?run=`` names ``grown`` with its state and the metrics that got points.
    """
    given = request.headers.get("last-event-id") or request.query_params.get("after", "")
    after = int(given) if given.isdecimal() else None
    backend: LocalBackend = request.app.state.backend
    frames = stream(backend, after, request.query_params.get("run"))
    opening = await anext(frames)  # answered once it follows: a page says then that it is live
    return StreamingResponse(
        _whole(opening, frames),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _whole(opening: bytes, frames: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield opening
    async with aclosing(frames):
        async for frame in frames:
            yield frame


async def stream(
    backend: LocalBackend,
    after: int | None,
    run: str | None = None,
    *,
    look: float = LOOK,
    heartbeat: float = HEARTBEAT,
) -> AsyncGenerator[bytes]:
    """Yield events after `after` (the head if None) as they are recorded, without end.

    With `run`, yield too what grows of that run while it goes on, from the first frame on.
    """
    news = await run_in_threadpool(News, backend, after)
    growth = Growth(backend, run) if run else None
    if growth is not None:
        await run_in_threadpool(growth.look)  # a cursor, and nothing new
    yield b"retry: 2000\n\n"
    silence = 0.0
    while True:
        if growth is not None and (frame := await run_in_threadpool(growth.look)):
            silence = 0.0
            yield frame
        events = await run_in_threadpool(news.look)
        if events:
            silence = 0.0
            yield b"".join(_frame(event) for event in events)
            continue
        if silence >= heartbeat:
            silence = 0.0
            yield b"event: beat\ndata:\n\n"
        await asyncio.sleep(look)
        silence += look


class News:
    """Events as they become visible, each once.

    A number is taken when an event is recorded and seen when its transaction ends: of two that
    go on at once, here or on another server, the higher may be seen first. So numbers that
    were passed over are looked for a while longer.
    """

    def __init__(self, backend: LocalBackend, after: int | None) -> None:
        """Begin after an event, or after the newest if None."""
        self._backend = backend
        self._looks = 0
        with backend.reading() as conn:
            self._position = store.head(conn) if after is None else after
            passed = store.passed_over(conn, self._position - _LOOK_BACK, self._position)
        self._passed = dict.fromkeys(passed, _PATIENCE)

    def look(self) -> list[Event]:
        """Return what became visible since the last look, oldest first."""
        self._looks += 1
        self._passed = {n: until for n, until in self._passed.items() if until >= self._looks}
        with self._backend.reading() as conn:
            late = store.numbered(conn, self._passed) if self._passed else []
            if store.head(conn) <= self._position:
                return self._seen(late)
            new = store.since(conn, after=self._position, limit=BATCH)
        first = max(self._position, new[-1].seq - _LOOK_BACK)
        passed = set(range(first + 1, new[-1].seq)) - {event.seq for event in new}
        self._passed |= dict.fromkeys(passed, self._looks + _PATIENCE)
        self._position = new[-1].seq
        return self._seen(late) + new

    def _seen(self, late: list[Event]) -> list[Event]:
        for event in late:
            del self._passed[event.seq]
        return late


class Growth:
    """What arrived for a run since one last looked."""

    def __init__(self, backend: LocalBackend, run: str) -> None:
        self._backend = backend
        self._run = run
        self._cursor = 0
        self._status = ""

    def look(self) -> bytes:
        """Return the frame that tells of it; nothing where there is nothing new."""
        try:
            found = self._backend.call(tail, Tail(run=self._run, after=self._cursor))
        except NotFound:
            return b""
        changed = self._status not in {"", found.status}
        self._cursor, self._status = found.cursor, found.status
        if not found.series and not changed:
            return b""
        told = {"status": found.status, "metrics": [series.name for series in found.series]}
        return b"event: grown\ndata: %s\n\n" % msgspec.json.encode(told)


def _frame(event: Event) -> bytes:
    data = msgspec.json.encode(event, enc_hook=str)
    return b"id: %d\nevent: change\ndata: %s\n\n" % (event.seq, data)
