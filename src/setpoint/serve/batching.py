"""Requests for a slow model, scored together: what arrived while the last ones were scored.

No timer: a request that finds its model idle is scored at once, alone. Under load more and
more arrive meanwhile and share a call, whose cost for many models hardly grows with its rows.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from setpoint.errors import Unavailable
from setpoint.serve import scoring
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.metrics import Metrics
from setpoint.serve.v2 import Rows

MOST_WAITING = 1_000  #: requests of one endpoint that may wait to be scored
_MOST_ROWS = 4_096  #: scored in one call


class Crowded(Unavailable):
    """More requests wait for a model than it can answer in a reasonable time."""

    code = "crowded"


class _Waiting(NamedTuple):
    rows: Rows
    keys: Sequence[str]
    parts: "asyncio.Future[list[scoring.Part]]"


class Batches:
    """Scores slow models beside the event loop, one call at a time for each endpoint."""

    def __init__(self, pool: Executor, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._waiting: dict[Endpoint, deque[_Waiting]] = {}
        self._working: set[asyncio.Task[None]] = set()  # a loop alone does not keep its tasks

    @property
    def busy(self) -> bool:
        """Whether a request is being scored, or waits to be."""
        return bool(self._waiting)

    async def score(
        self, endpoint: Endpoint, rows: Rows, keys: Sequence[str]
    ) -> list[scoring.Part]:
        """Score a request, maybe with others.

        Raises:
            Crowded: If too many wait already.
        """
        loop = asyncio.get_running_loop()
        one = _Waiting(rows, keys, loop.create_future())
        waiting = self._waiting.get(endpoint)
        if waiting is None:
            self._waiting[endpoint] = deque([one])
            task = loop.create_task(self._work(endpoint))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        elif len(waiting) >= MOST_WAITING:
            raise Crowded(
                f"{len(waiting)} requests wait for the model {endpoint.model!r}",
                hint="send it again in a second, or fewer at once",
            )
        else:
            waiting.append(one)
        return await one.parts

    async def _work(self, endpoint: Endpoint) -> None:
        """Score what waits for an endpoint until nothing does."""
        waiting = self._waiting[endpoint]
        while waiting:
            batch = _taken(waiting)
            self._metrics.batched(endpoint.model, len(batch))
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(self._pool, _together, endpoint, batch)
            except Exception as error:  # noqa: BLE001 - told to who asked
                for one in batch:
                    if not one.parts.done():
                        one.parts.set_exception(error)
                continue
            for one, parts in zip(batch, found, strict=True):
                if not one.parts.done():  # whoever asked has gone
                    one.parts.set_result(parts)
        del self._waiting[endpoint]


def _taken(waiting: deque[_Waiting]) -> list[_Waiting]:
    """Take the first that waits, and those behind it that can be scored with it."""
    batch = [waiting.popleft()]
    absent, count = batch[0].rows.absent, batch[0].rows.count
    while waiting and waiting[0].rows.absent == absent:
        count += waiting[0].rows.count
        if count > _MOST_ROWS:
            break
        batch.append(waiting.popleft())
    return batch


def _together(endpoint: Endpoint, batch: Sequence[_Waiting]) -> list[list[scoring.Part]]:
    """Return the parts of each request; none fails because of another one's rows."""
    if len(batch) > 1:
        rows = _joined([one.rows for one in batch])
        keys = [key for one in batch for key in one.keys]
        parts = scoring.score(endpoint, rows, keys)
        if not any(part.failed for part in parts):
            return _split(parts, [one.rows.count for one in batch])
    return [scoring.score(endpoint, one.rows, one.keys) for one in batch]


def _joined(several: Sequence[Rows]) -> Rows:
    texts = {
        name: [text for rows in several for text in rows.texts[name]] for name in several[0].texts
    }
    held = {
        name: np.concatenate([rows.blobs[name] for rows in several]) for name in several[0].blobs
    }
    values = np.concatenate([rows.values for rows in several])
    return Rows(sum(rows.count for rows in several), values, texts, several[0].absent, held)


def _split(parts: Sequence[scoring.Part], counts: Sequence[int]) -> list[list[scoring.Part]]:
    """Return what of the parts is each request's, the requests one after the other."""
    found, start = [], 0
    for count in counts:
        mine = (_slice(part, start, start + count) for part in parts)
        found.append([part for part in mine if part is not None])
        start += count
    return found


def _slice(part: scoring.Part, start: int, stop: int) -> scoring.Part | None:
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
        given=part.given and {n: v[places.start : places.stop] for n, v in part.given.items()},
    )
