"""From the rows of a request to an answer: scored, logged, counted, and owed to the other arm.

Every protocol reads its requests into rows and writes its answers from a `Predicted`; what a
prediction is, and what is kept of it, is the same for all of them and said here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from setpoint.core.clock import Clock
from setpoint.errors import Invalid, NotFound, SetpointError, Unavailable
from setpoint.serve import scoring, v2
from setpoint.serve.batching import Batches
from setpoint.serve.endpoints import Endpoint, Endpoints
from setpoint.serve.entities import LabelRecord
from setpoint.serve.ids import maker, micros_of
from setpoint.serve.log import Log
from setpoint.serve.metrics import Metrics
from setpoint.serve.outputs import Told
from setpoint.serve.protocols import Given

if TYPE_CHECKING:
    from setpoint.serve.jobs.queue import Jobs

ROLES = ("live", "canary", "fallback")
MOST_WAITING = 10_000  #: requests that may wait for the other arm's scores

_log = logging.getLogger(__name__)
_prediction_ids = maker("prd")
_request_ids = maker("req")


class Job(Struct, frozen=True):
    """An answered request whose rows the other arm has yet to score."""

    endpoint: Endpoint
    parts: list[scoring.Part]
    ids: list[str]
    request_id: str
    at_us: int


class Asked(Struct, frozen=True, gc=False):
    """A request for predictions, read."""

    endpoint: Endpoint
    rows: v2.Rows
    started: int  #: `perf_counter_ns` when reading began
    at_us: int
    request_id: str
    ids: list[str]
    keys: list[str]
    version: int = 0  #: the one that is to answer all rows; 0: whichever routing says


class Predicted(Struct, frozen=True, gc=False):
    """What was answered, row by row."""

    endpoint: Endpoint
    request_id: str
    ids: list[str]
    versions: list[int]
    scores: list[float]  #: NaN where a row lacks what its version needs
    fallback: bool = False  #: a version failed and its baseline answered, for some rows at least
    given: Given = {}  #: what the model gave besides scores

    def told(self, names: Sequence[str] = ()) -> list[Told]:
        """Return the outputs of these names, or those that are answered unasked.

        Raises:
            Invalid: If there is no such output.
        """
        outputs = self.endpoint.outputs
        return outputs.told(outputs.chosen(names), self.scores, self.given)

    def classified(self) -> tuple[list[str], Any]:
        """Return the names of the classes, and ``[n, classes]`` probabilities."""
        return self.endpoint.outputs.classified(self.scores, self.given)

    @property
    def version(self) -> int:
        """The version that answered; the live one where several did."""
        versions, live = self.versions, self.endpoint.live.version
        first = versions[0] if versions else live
        return first if versions.count(first) == len(versions) else live


class Answering:
    """What the protocols of one server share. Used by its event loop alone."""

    def __init__(self, endpoints: Endpoints, log: Log, metrics: Metrics, clock: Clock) -> None:
        self.endpoints = endpoints
        self.log = log
        self.metrics = metrics
        self.micros = micros_of(clock)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")
        self._batches = Batches(self._pool, metrics)
        self._waiting: deque[Job] = deque()
        self._shadowing: asyncio.Task[None] | None = None
        self.jobs: Jobs | None = None  #: where requests that may wait are kept; None: nowhere

    @property
    def busy(self) -> bool:
        """Whether somebody waits for a slow model."""
        return self._batches.busy

    def endpoint(self, model: str) -> Endpoint:
        """Return what answers for a model.

        Raises:
            NotFound: If it is not served here; says what is.
            Unavailable: If its live version cannot answer.
        """
        endpoint = self.endpoints.get(model)
        if endpoint is None:
            known = ", ".join(sorted(self.endpoints.all())) or "none yet"
            raise NotFound(f"no model {model!r} is served here", hint=f"served now: {known}")
        if endpoint.broken is not None:
            raise Unavailable(f"the model {model!r} cannot answer: {endpoint.broken}")
        return endpoint

    def asked(
        self,
        endpoint: Endpoint,
        rows: v2.Rows,
        started: int,
        *,
        request_id: str = "",
        parameters: v2.Parameters | None = None,
        version: int = 0,
    ) -> Asked:
        """Name a request and its rows.

        Raises:
            Invalid: If ids or keys are given that do not fit the rows.
        """
        if version:
            _require(endpoint, version)
        at_us = self.micros()
        named = name(request_id, parameters, rows.count, at_us)
        return Asked(endpoint, rows, started, at_us, *named, version)

    async def predict(self, asked: Asked) -> Predicted:
        """Score a request, beside the event loop where its model is slow.

        Raises:
            SetpointError: If no version could answer.
        """
        if not asked.ids:
            parts = []
        elif asked.endpoint.slow and asked.version:
            loop = asyncio.get_running_loop()
            parts = await loop.run_in_executor(self._pool, _score, asked)
        elif asked.endpoint.slow:
            parts = await self._batches.score(asked.endpoint, asked.rows, asked.keys)
        else:
            parts = _score(asked)
        return self.finish(asked, parts)

    def predict_now(self, asked: Asked) -> Predicted:
        """Score a request in this call."""
        return self.finish(asked, _score(asked) if asked.ids else [])

    def finish(self, asked: Asked, parts: Sequence[scoring.Part]) -> Predicted:
        """Log and count; what cannot be logged is not answered."""
        endpoint, ids, request_id = asked.endpoint, asked.ids, asked.request_id
        total = perf_counter_ns() - asked.started - sum([part.nanos for part in parts])
        for part in parts:
            micros = (total + part.nanos) // 1000  # an arm does not answer for the other's time
            self.log.append(scoring.record(endpoint, part, ids, request_id, asked.at_us, micros))
            self.metrics.answered(
                endpoint.model, part.failed or part.version, ROLES[part.role],
                500 if part.failed else 200, part.rows.count, micros, asked.at_us,
            )  # fmt: skip
            if scoring.fell_back((part,)):
                self.metrics.fell_back(endpoint.model, part.rows.count)
        if (why := scoring.failure(parts)) is not None:
            raise SetpointError(
                f"the model {endpoint.model!r} failed: {why}",
                hint="the server's log has the traceback; nothing was predicted",
            )
        if parts and not endpoint.alone:
            self.owe(Job(endpoint, list(parts), ids, request_id, asked.at_us))
        scores, versions = scoring.assemble(parts, len(ids))
        given = scoring.given(parts, endpoint.outputs.given, len(ids))
        fallback = scoring.fell_back(parts)
        return Predicted(endpoint, request_id, ids, versions, scores, fallback, given)

    def label(self, endpoint: Endpoint, ids: list[str], labels: list[float]) -> None:
        """Keep what turned out, for rows that were predicted or will be."""
        if not ids:
            return
        at_us = self.micros()
        self.log.append(LabelRecord(at_us=at_us, model=endpoint.model, ids=ids, labels=labels))
        self.metrics.labelled(endpoint.model, len(ids))

    def owe(self, job: Job) -> None:
        """Have the other arm score what was answered, later."""
        if len(self._waiting) >= MOST_WAITING:
            self.metrics.shadows_dropped += 1
        else:
            self._waiting.append(job)

    def after(self) -> None:
        """Begin with what is owed, once an answer is on its way."""
        if self._waiting and (self._shadowing is None or self._shadowing.done()):
            self._shadowing = asyncio.get_running_loop().create_task(self._shadow())

    async def settled(self) -> None:
        """Return when nothing is owed."""
        while self._waiting or (self._shadowing is not None and not self._shadowing.done()):
            if self._shadowing is None or self._shadowing.done():
                self._shadowing = asyncio.get_running_loop().create_task(self._shadow())
            await self._shadowing

    async def close(self) -> None:
        """Finish the scores that are owed, then sync and close the log."""
        if self.jobs is not None:
            await self.jobs.close()
        while self._waiting:
            await self._shadow()
        self._pool.shutdown()
        self.endpoints.close()
        self.log.close()

    async def _shadow(self) -> None:
        """Have the other arm score what was answered; starts after the answers are sent."""
        await asyncio.sleep(0)
        while self._waiting:
            job = self._waiting.popleft()
            try:
                await self._shadow_one(job)
            except SetpointError as error:  # the disk is full: answers say so, evidence waits
                self.metrics.shadows_dropped += 1
                _log.warning("shadow not logged", extra={"problem": str(error)})
            await asyncio.sleep(0)

    async def _shadow_one(self, job: Job) -> None:
        for part in job.parts:
            given = (job.endpoint, part, job.ids, job.request_id, job.at_us)
            if job.endpoint.slow:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._pool, scoring.shadow, *given)
            else:
                found = scoring.shadow(*given)
            if found is not None:
                self.log.append(found)
                self.metrics.shadowed(found.model, len(found.ids))


def _require(endpoint: Endpoint, version: int) -> None:
    """Refuse a version that answers nobody; a shadow does not either."""
    answering = [arm.version for arm in (endpoint.live, endpoint.canary) if arm is not None]
    if version not in answering:
        raise NotFound(
            f"version {version} of {endpoint.model!r} does not answer here",
            hint=f"answering now: {', '.join(map(str, answering))}",
        )


def _score(asked: Asked) -> list[scoring.Part]:
    return scoring.score(asked.endpoint, asked.rows, asked.keys, asked.version)


def name(
    request_id: str, parameters: v2.Parameters | None, count: int, at_us: int
) -> tuple[str, list[str], list[str]]:
    """Return the request's id, the rows' prediction ids and the rows' routing keys."""
    ids = parameters.ids if parameters else None
    keys = parameters.keys if parameters else None
    for what, given in (("ids", ids), ("keys", keys)):
        if given is not None and len(given) != count:
            raise Invalid(
                f"{len(given)} {what} for {count} rows",
                where=f"$.parameters.{what}",
                hint=f"send one a row, or no {what}",
            )
    if ids is not None:
        v2.check_ids(ids, "$.parameters.ids", unique=True)
        request_id = request_id or _request_ids(at_us)
    else:
        made = _prediction_ids(at_us)
        ids = [made] if count == 1 else [f"{made}.{i}" for i in range(count)]
        request_id = request_id or made
    return request_id, ids, ids if keys is None else keys
