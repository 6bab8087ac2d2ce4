"""Requests for a slow model, scored together: what arrived while the last ones were scored.

A request that finds its model idle is scored at once, alone, unless its endpoint has it wait
for company. Under load more and more arrive meanwhile and share a call, whose cost for many
models hardly grows with its rows.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from setpoint.errors import Unavailable
from setpoint.serve import scoring
from setpoint.serve.choosing import Choice
from setpoint.serve.endpoints import MANY_ROWS, Endpoint
from setpoint.serve.entities import EndpointSettings
from setpoint.serve.lanes import Lane
from setpoint.serve.metrics import Metrics
from setpoint.serve.v2 import Rows

Parts = list[scoring.Part]


class Crowded(Unavailable):
    """More requests wait for a model than it can answer in a reasonable time."""

    code = "crowded"


class _Waiting(NamedTuple):
    rows: Rows
    keys: Sequence[str]
    version: Choice  #: who is to answer all rows; 0: whoever routing says
    parts: "asyncio.Future[Parts]"
    since: int  #: `perf_counter_ns` when it came


class _Scored(NamedTuple):
    parts: list[Parts]  #: of each request
    calls: Parts  #: what versions were called with, once for all who shared it


class _Queue:
    """What waits for one endpoint."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.workers = 0  #: that take from it
        self.calls = 0  #: of the model that go on
        self.asked = 0  #: requests that share those
        self.full = asyncio.Event()  #: enough waits for a call of its own

    def is_full(self, most: int) -> bool:
        """Tell whether so many wait; who was answered by a fallback meanwhile is none of them."""
        if len(self.waiting) >= most:
            self.waiting = deque(one for one in self.waiting if not one.parts.done())
        return len(self.waiting) >= most

    def rows(self) -> int:
        """Return how many rows wait."""
        return sum(one.rows.count for one in self.waiting)


class Batches:
    """Scores slow models beside the event loop, an endpoint's number of calls at a time."""

    def __init__(self, lane_of: Callable[[Endpoint], Lane], metrics: Metrics) -> None:
        self._lane_of = lane_of
        self._metrics = metrics
        self._queues: dict[Endpoint, _Queue] = {}
        self._working: set[asyncio.Task[None]] = set()  # a loop alone does not keep its tasks

    def asks(self, endpoint: Endpoint) -> bool:
        """Tell whether requests of an endpoint are being scored, or wait; any thread may ask."""
        return endpoint in self._queues

    @property
    def busy(self) -> bool:
        """Whether a request is being scored, or waits to be."""
        return bool(self._queues)

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait or are being scored, by model."""
        found: dict[str, int] = {}
        for endpoint, queue in self._queues.items():
            there = sum(not one.parts.done() for one in queue.waiting) + queue.asked
            found[endpoint.model] = found.get(endpoint.model, 0) + there
        return found

    def enter(
        self, endpoint: Endpoint, rows: Rows, keys: Sequence[str], version: Choice = 0
    ) -> "asyncio.Future[Parts]":
        """Have a request scored, maybe with others; cancelling it before it is begun undoes it.

        Raises:
            Crowded: If too many wait already.
        """
        loop, settings = asyncio.get_running_loop(), endpoint.settings
        queue = self._queues.get(endpoint)
        if queue is None:
            queue = self._queues[endpoint] = _Queue()
        idle = settings.concurrency - queue.calls
        if queue.is_full(settings.queue + idle):
            self._metrics.refuse(endpoint.model, "queue")
            raise Crowded(
                f"{len(queue.waiting)} requests wait for the model {endpoint.model!r}",
                hint="send it again in a second, or fewer at once",
            )
        one = _Waiting(rows, keys, version, loop.create_future(), perf_counter_ns())
        queue.waiting.append(one)
        if settings.batch_wait and queue.rows() >= settings.batch_rows:
            queue.full.set()
        if queue.workers < settings.concurrency:
            queue.workers += 1
            task = loop.create_task(self._work(endpoint, queue))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return one.parts

    async def _work(self, endpoint: Endpoint, queue: _Queue) -> None:
        """Score what waits for an endpoint until nothing does."""
        if endpoint.settings.batch_wait:
            await _company(queue, endpoint.settings)
        while batch := _taken(queue.waiting, endpoint.settings.batch_rows):
            rows = sum(one.rows.count for one in batch)
            self._metrics.batched(endpoint.model, len(batch), rows)
            queue.calls += 1
            queue.asked += len(batch)
            try:
                found = await self._lane_of(endpoint).run(_together, endpoint, batch)
            except Exception as error:  # noqa: BLE001 - told to who asked
                for one in batch:
                    if not one.parts.done():
                        one.parts.set_exception(error)
                continue
            finally:
                queue.calls -= 1
                queue.asked -= len(batch)
            self._count(endpoint.model, found.calls)
            for one, parts in zip(batch, found.parts, strict=True):
                if not one.parts.done():  # whoever asked has gone
                    one.parts.set_result(parts)
        queue.workers -= 1
        if not queue.workers:
            self._queues.pop(endpoint, None)

    def _count(self, model: str, called: Parts) -> None:
        for part in called:
            if not part.failed:
                self._metrics.calls_of(model, part.version).called(part.rows.count, part.nanos)


async def _company(queue: _Queue, settings: EndpointSettings) -> None:
    """Wait until there is enough for a call, or the time is over."""
    queue.full.clear()
    if queue.rows() < settings.batch_rows:
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.batch_wait):
                await queue.full.wait()


def _taken(waiting: deque[_Waiting], most_rows: int) -> list[_Waiting]:
    """Take the first that waits, and those behind it that can be scored with it.

    Nothing is begun for somebody who has gone.
    """
    batch: list[_Waiting] = []
    count = 0
    while waiting:
        one = waiting[0]
        if not one.parts.done():
            alike = not batch or _alike(one, batch[0])
            if not alike or (batch and count + one.rows.count > most_rows):
                break
            batch.append(one)
            count += one.rows.count
        waiting.popleft()
    return batch


def _alike(one: _Waiting, other: _Waiting) -> bool:
    return one.rows.absent == other.rows.absent and one.version == other.version


def _together(endpoint: Endpoint, batch: Sequence[_Waiting]) -> _Scored:
    """Score requests; none fails because of another one's rows."""
    version, began = batch[0].version, perf_counter_ns()
    if len(batch) > 1:
        rows = _joined([one.rows for one in batch])
        keys = [key for one in batch for key in one.keys]
        parts = scoring.score(endpoint, rows, keys, version)
        if not any(part.failed for part in parts):
            return _Scored(_split(parts, batch, began), parts)
    each = [
        [] if one.parts.done() else _alone(endpoint, one, version)
        for one in batch  # nobody waits any more for what is done
    ]
    return _Scored(each, [part for parts in each for part in parts])


def _alone(endpoint: Endpoint, one: _Waiting, version: Choice) -> Parts:
    """Score a request; how long very many rows take says nothing of others."""
    waited = perf_counter_ns() - one.since
    score = scoring.score_apart if one.rows.count >= MANY_ROWS else scoring.score
    parts = score(endpoint, one.rows, one.keys, version)
    return [replace(part, waited=waited) for part in parts]


def _joined(several: Sequence[Rows]) -> Rows:
    texts = {
        name: [text for rows in several for text in rows.texts[name]] for name in several[0].texts
    }
    held = {
        name: np.concatenate([rows.blobs[name] for rows in several]) for name in several[0].blobs
    }
    values = np.concatenate([rows.values for rows in several])
    return Rows(sum(rows.count for rows in several), values, texts, several[0].absent, held)


def _split(parts: Parts, batch: Sequence[_Waiting], began: int) -> list[Parts]:
    """Return what of the parts is each request's, the requests one after the other."""
    found, start = [], 0
    for one in batch:
        stop = start + one.rows.count
        mine = (_slice(part, start, stop, len(batch), began - one.since) for part in parts)
        found.append([part for part in mine if part is not None])
        start = stop
    return found


def _slice(
    part: scoring.Part, start: int, stop: int, shared: int, waited: int
) -> scoring.Part | None:
    """Return a part's rows from `start` to before `stop` as a part of their own, if it has any."""
    scores: Any = part.scores
    if part.index is None:
        places, index = range(start, stop), None
    else:
        places = range(*np.searchsorted(part.index, [start, stop]).tolist())
        index = [part.index[place] - start for place in places]
        if not index:
            return None
        if len(index) == stop - start:
            index = None
    return scoring.Part(
        role=part.role,
        rows=scoring.take(part.rows, list(places)),
        index=index,
        scores=scores[places.start : places.stop],
        version=part.version,
        nanos=part.nanos,
        shared=shared,
        waited=waited,
        arm=part.arm,
        given=part.given and {n: v[places.start : places.stop] for n, v in part.given.items()},
    )
