"""From the rows of a request to an answer: scored, logged, counted, and owed to the other arm.

Every protocol reads its requests into rows and writes its answers from a `Predicted`; what a
prediction is, and what is kept of it, is the same for all of them and said here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, perf_counter_ns, process_time
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from setpoint.core.clock import Clock
from setpoint.errors import NotFound, SetpointError, Unavailable
from setpoint.serve import choosing, plain, rules, scoring, timing, v2
from setpoint.serve.batching import Batches
from setpoint.serve.bringing import Bringing
from setpoint.serve.endpoints import MANY_ROWS, Endpoint
from setpoint.serve.entities import LabelRecord, Role
from setpoint.serve.explaining import Explaining
from setpoint.serve.following import Endpoints
from setpoint.serve.ids import micros_of, name
from setpoint.serve.keeping import Keeper
from setpoint.serve.lanes import Lane, Lanes
from setpoint.serve.log import Log
from setpoint.serve.memory import resident
from setpoint.serve.metrics import Metrics
from setpoint.serve.prediction import Asked, Predicted
from setpoint.serve.siblings import Counted, Siblings
from setpoint.serve.waiting import Gone, Late, outcome

if TYPE_CHECKING:
    from setpoint.serve.jobs.queue import Jobs
    from setpoint.serve.tracing import Tracing

ROLES = tuple(role.value for role in rules.ROLES)  #: by the numbers that parts have
_LEAST_SECONDS = 0.5  #: that a baseline has to take the place of a late answer
MOST_WAITING = 10_000  #: requests that may wait for the other arm's scores

_log = logging.getLogger(__name__)


class Job(Struct, frozen=True):
    """An answered request whose rows the other arm has yet to score."""

    endpoint: Endpoint
    parts: list[scoring.Part]
    ids: list[str]
    request_id: str
    at_us: int


class Answering:
    """What the protocols of one server share. Used by its event loop alone."""

    def __init__(self, endpoints: Endpoints, log: Log, metrics: Metrics, clock: Clock) -> None:
        self.tracing: Tracing | None = None  #: makes spans of requests; None: nobody asked
        self.endpoints = endpoints
        self.log = log
        self.keeper = Keeper(log, metrics)
        self.metrics = metrics
        self.micros = micros_of(clock)
        self.siblings: Siblings | None = None  #: the other processes of the server, if any
        self.draining = False  #: whether the server is about to end, and takes nothing new
        self._lanes = Lanes()
        self._batches = Batches(self.lane, metrics)
        self.bringing = Bringing(endpoints)
        self.explaining = Explaining(endpoints, metrics, self.bringing)
        endpoints.micros, endpoints.is_asked = self.micros, self._batches.asks
        endpoints.given_up = self.explaining.forget
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
            raise NotFound(f"no model {model[:100]!r} is served here", hint=f"served now: {known}")
        if endpoint.broken is not None:
            raise Unavailable(f"the model {model!r} cannot answer: {endpoint.broken}")
        return endpoint

    def state(self, endpoint: Endpoint) -> tuple[str, str]:
        """Return whether an endpoint is READY, LOADING or UNAVAILABLE, and why, if it is not."""
        if endpoint.absent and self.bringing.is_coming(endpoint):
            return "LOADING", "it is being loaded"
        return self.endpoints.state(endpoint)

    def unwell(self) -> str | None:
        """Return why nothing new should be sent here, None if it may."""
        return "it is about to end" if self.draining else self.endpoints.problem

    def unready(self) -> str | None:
        """Return why no model could answer, None if one could."""
        found = self.unwell()
        if found is None and all(one.trouble() for one in self.endpoints.all().values()):
            found = "no model is loaded that could answer"
        return found

    def counts(self) -> Counted:
        """Return what this process counted, with the generation that it serves of each model."""
        served = self.endpoints.all().items()
        generations = {name: endpoint.generation for name, endpoint in served}
        mine = replace(
            self.metrics,
            log_bytes=self.log.bytes,
            memory=self.endpoints.in_memory(),
            waiting=self._batches.waiting(),
            cpu_seconds=process_time(),
            resident=resident(),
        )
        if self.jobs is not None:
            mine.jobs_waiting, mine.jobs_waiting_bytes = self.jobs.waiting, self.jobs.bytes
        return Counted(mine, generations)

    async def counted(self) -> Counted:
        """Return what all processes of the server counted."""
        mine = self.counts()
        return mine if self.siblings is None else await self.siblings.counted(mine)

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
        """Name a request and its rows, and say what they are routed by.

        Raises:
            Invalid: If ids or keys do not fit the rows, or a row lacks what it needs.
            NotFound: If it names a version or an arm that does not answer here.
        """
        if endpoint.needs is not None:
            endpoint.needs.check(rows)
        route = choosing.route_of(parameters)
        choice = choosing.choice(endpoint, route, version) if route or version else 0
        at_us = self.micros()
        request_id, ids, given = name(request_id, parameters, rows.count, at_us)
        keys = choosing.keys_of(endpoint, rows, ids) if endpoint.keyed and given is ids else given
        return Asked(endpoint, rows, started, at_us, request_id, ids, keys, choice)

    async def predict(self, asked: Asked) -> Predicted:
        """Score a request, beside the event loop where its model is slow.

        Raises:
            Crowded: If too many wait for it already.
            TimedOut: If no version answered in time.
            SetpointError: If no version could answer.
            Gone: If the client hung up meanwhile; nothing was predicted.
        """
        if asked.endpoint.absent:
            asked = await self.brought(asked)
        began = 0 if self.tracing is None else perf_counter_ns()
        if not asked.ids:
            parts = []
        elif asked.endpoint.slow or len(asked.ids) >= MANY_ROWS:
            parts = await self._aside(asked)
        else:
            parts = _score(asked)
        if self.tracing is not None:
            self.tracing.scored(asked, parts, began)
        return self.finish(asked, parts)

    async def brought(self, asked: Asked) -> Asked:
        """Return a request whose model is in memory, once it is there; raises as that does."""
        seconds = asked.endpoint.settings.timeout
        left = seconds and seconds - (perf_counter_ns() - asked.started) / 1e9
        return replace(asked, endpoint=await self.bringing.whole(asked.endpoint, left))

    async def _aside(self, asked: Asked) -> list[scoring.Part]:
        """Score a request in a thread of its endpoint, in the time that it has."""
        endpoint, seconds = asked.endpoint, asked.endpoint.settings.timeout
        parts = self._batches.enter(endpoint, asked.rows, asked.keys, asked.version)
        left = seconds and seconds - (perf_counter_ns() - asked.started) / 1e9
        try:
            found: list[scoring.Part] = await outcome(parts, left)
        except Gone:
            self.metrics.refuse(endpoint.model, "gone")
            raise
        except Late:
            return await self._late(asked, seconds or 0.0)
        return found

    async def _late(self, asked: Asked, seconds: float) -> list[scoring.Part]:
        """Return what takes the place of an answer that did not come in time."""
        given = (asked.endpoint, asked.rows, asked.keys, asked.version, seconds)
        if asked.endpoint.live.fallback is not None:
            lane = self.lane(asked.endpoint, "fallback")
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, _LEAST_SECONDS)):
                    found: list[scoring.Part] = await lane.run(timing.in_place_of, *given)
                    return found
        return timing.in_place_of(*given, rescue=False)

    def lane(self, endpoint: Endpoint, what: str = "answers") -> Lane:
        """Return the threads of an endpoint, for what is done beside the event loop."""
        threads = endpoint.settings.concurrency if what == "answers" else 1
        return self._lanes.of(endpoint.model, threads, what, self.endpoints.all())

    def predict_now(self, asked: Asked) -> Predicted:
        """Score a request in this call."""
        scored = self.scored(asked) if asked.endpoint.plain and not asked.version else None
        if scored is None:
            return self.finish(asked, _score(asked) if asked.ids else [])
        versions, scores = [scored.version] * len(asked.ids), scored.scores.tolist()
        return Predicted(asked.endpoint, asked.request_id, asked.ids, versions, scores)

    def scored(self, asked: Asked) -> plain.Scored | None:
        """Score, log and count a plain request as `scoring.score` and `finish` would.

        None for any other, before anything happened.
        """
        endpoint, rows = asked.endpoint, asked.rows
        scored = plain.score(endpoint, rows, asked.keys)
        if scored is None:
            return None
        micros = (perf_counter_ns() - asked.started) // 1000
        record = plain.record(asked, scored, micros)
        if endpoint.keeping is None:
            self.log.append(record)
        else:
            self.keeper.answered(endpoint.keeping, record)
        self.metrics.answered(
            endpoint.model, scored.version, ROLES[scored.role], 200, rows.count, micros, asked.at_us
        )
        if not endpoint.alone:
            self.owe(Job(endpoint, [scored.part(rows)], asked.ids, asked.request_id, asked.at_us))
        return scored

    def finish(self, asked: Asked, parts: Sequence[scoring.Part]) -> Predicted:
        """Log and count; what cannot be logged is not answered."""
        scoring.require_finite(asked.endpoint.model, parts)
        endpoint, ids, request_id = asked.endpoint, asked.ids, asked.request_id
        total = perf_counter_ns() - asked.started - sum([part.nanos for part in parts])
        for part in parts:
            micros = (total + part.nanos) // 1000  # an arm does not answer for the other's time
            record = scoring.record(endpoint, part, ids, request_id, asked.at_us, micros)
            self.keeper.answered(endpoint.keeping, record)
            self.metrics.answered(
                endpoint.model, part.failed or part.version, ROLES[part.role],
                part.status if part.failed else 200, part.rows.count, micros, asked.at_us,
            )  # fmt: skip
            if part.waited is not None and not part.failed:
                calls = self.metrics.calls_of(endpoint.model, part.version)
                calls.answered(part.waited, total)
            if part.arm and ROLES[part.role] != Role.TEST:  # whom a tester named is no share
                self.metrics.armed(endpoint.model, part.arm, part.version, part.rows.count)
            if scoring.fell_back((part,)):
                self.metrics.fell_back(endpoint.model, part.rows.count)
        if (why := scoring.failure(parts)) is not None:
            raise _failed(endpoint.model, why, parts)
        if parts and not endpoint.alone:
            self.owe(Job(endpoint, list(parts), ids, request_id, asked.at_us))
        scores, versions = scoring.assemble(parts, len(ids))
        given = scoring.given(parts, endpoint.outputs.given, len(ids))
        fallback = scoring.fell_back(parts)
        named = bool(endpoint.arms) or asked.version.__class__ is not int
        arms = scoring.arms(parts, len(ids)) if named else []
        return Predicted(endpoint, request_id, ids, versions, scores, fallback, given, arms)

    def label(self, endpoint: Endpoint, ids: list[str], labels: list[float]) -> None:
        """Keep what turned out, for rows that were predicted or will be."""
        if not ids:
            return
        at_us = self.micros()
        record = LabelRecord(at_us=at_us, model=endpoint.model, ids=ids, labels=labels)
        self.keeper.labelled(endpoint.keeping, record)
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

    async def close(self, until: float = 0.0) -> None:
        """Finish the scores that are owed, then sync and close the log.

        Args:
            until: `time.monotonic` when those that are not there are given up; 0: never.
        """
        if self.jobs is not None:
            await self.jobs.close()
        try:
            async with asyncio.timeout(max(until - monotonic(), 0.0) if until else None):
                await self.settled()
        except TimeoutError:
            _log.warning("shadows not scored", extra={"count": len(self._waiting)})
        self._lanes.close()
        self.bringing.close()
        self.explaining.close()
        self.endpoints.close()
        self.keeper.close()
        self.log.close()
        if self.siblings is not None:
            self.siblings.keep(self.counts())

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
                found = await self.lane(job.endpoint, "shadows").run(scoring.shadow, *given)
            else:
                found = scoring.shadow(*given)
            if found is not None:
                self.keeper.shadowed(job.endpoint.keeping, found)
                self.metrics.shadowed(found.model, len(found.ids))


def _failed(model: str, why: str, parts: Sequence[scoring.Part]) -> SetpointError:
    if any(part.status == timing.STATUS for part in parts if part.failed):
        return timing.TimedOut(
            f"the model {model!r} did not answer in time: {why}",
            hint="send fewer rows in a request; serve.limits.timeout of its spec is the limit",
        )
    return SetpointError(
        f"the model {model!r} failed: {why}",
        hint="the server's log has the traceback; nothing was predicted",
    )


def _score(asked: Asked) -> list[scoring.Part]:
    return scoring.score(asked.endpoint, asked.rows, asked.keys, asked.version)
