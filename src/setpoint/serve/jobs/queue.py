"""The jobs of one server: taken, scored one after the other behind the requests, kept for a day.

A job is scored in chunks of rows, in a thread that the system runs after the others, and a chunk
begins only when nobody waits for a slow model. Nothing of a job is logged before all of it is
scored, so one that was cancelled leaves nothing. The event loop alone decides how a job ends, and
decides once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, perf_counter_ns
from typing import NamedTuple, TypeVar

from msgspec import structs

from setpoint.core.ids import new_id
from setpoint.errors import Conflict, NotFound, SetpointError
from setpoint.serve import problems, scoring, v2
from setpoint.serve.answering import Answering
from setpoint.serve.batching import Crowded
from setpoint.serve.choosing import Tested
from setpoint.serve.jobs.disk import Folder
from setpoint.serve.jobs.entities import Job, Outcome, State
from setpoint.serve.jobs.pace import Pace
from setpoint.serve.prediction import Asked
from setpoint.serve.rest import open_inference
from setpoint.serve.yielding import step_back

MOST_WAITING = 1_000  #: jobs that may wait
MOST_BYTES = 1 << 30  #: of their requests
KEPT_SECONDS = 86_400  #: for which one may ask how a job ended
MOST_KEPT = 10_000  #: jobs that ended; the oldest are forgotten sooner
_SWEEP_SECONDS = 60.0
_LOOK_SECONDS = 0.002  #: how often it is looked whether somebody still waits
_RETRY_SECONDS = 1.0  #: after which a full disk is tried again

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Entry:
    """What is known of a job in memory; its request and answer are on the disk."""

    def __init__(self, job: Job) -> None:
        self.id = job.id
        self.model = job.model
        self.rows = job.rows
        self.bytes = job.bytes
        self.accepted_us = job.accepted_us
        self.started_us = self.ended_us = 0
        self.state = State.QUEUED
        self.error = ""
        self.decided = False  #: whether it is settled how it ends
        self.dropped = False  #: whether its scoring was given up for that

    @classmethod
    def of(cls, outcome: Outcome) -> "Entry":
        """Return what is known of a job that ended."""
        found = cls.__new__(cls)
        found.id, found.model, found.rows = outcome.id, outcome.model, outcome.rows
        found.bytes, found.decided, found.dropped = 0, True, False
        found.accepted_us = outcome.accepted_us
        found.ended(outcome)
        return found

    def ended(self, outcome: Outcome) -> None:
        """Note how it ended."""
        self.started_us, self.ended_us = outcome.started_us, outcome.ended_us
        self.state, self.error = outcome.state, outcome.error


class _Scored(NamedTuple):
    """A job all of whose rows were scored, or whose last part failed."""

    request: v2.InferRequest
    asked: Asked
    parts: list[scoring.Part]


class Jobs:
    """Used by the event loop alone."""

    def __init__(self, serving: Answering, folder: Folder) -> None:
        """Take over what waits in a folder, and what ended."""
        self._serving = serving
        self._folder = folder
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jobs-disk")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs", initializer=step_back)
        self._paces: dict[str, Pace] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._arriving = 0  # being written; they count as waiting
        ended = {one.id: Entry.of(one) for one in folder.ended()}
        self._waiting = deque(Entry(job) for job in folder.waiting())
        self._entries = ended | {entry.id: entry for entry in self._waiting}
        self.bytes = sum(entry.bytes for entry in self._waiting)  #: of requests that wait

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Score what waits, and go on until `close`."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop after the chunk that is being scored; the job begins again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._disk.shutdown()
        self._folder.close()

    async def submit(self, asked: Asked, body: bytes, length: str) -> Entry:
        """Take a request; when this returns, it will be scored, whatever is killed.

        Raises:
            Crowded: If too many wait already.
            Unavailable: If it cannot be kept.
        """
        if self.waiting + self._arriving >= MOST_WAITING or self.bytes + len(body) > MOST_BYTES:
            raise Crowded(
                f"{self.waiting} jobs of {self.bytes / 1e6:,.0f} MB wait",
                hint="send it again when some of them are done",
            )
        job = Job(
            id=new_id("job"),
            model=asked.endpoint.model,
            version=(asked.version if isinstance(asked.version, int) else 0)
            or asked.endpoint.key[1],
            route=asked.version.name if isinstance(asked.version, Tested) else "",
            keys=[] if asked.keys is asked.ids else list(asked.keys),
            length=length,
            rows=asked.rows.count,
            ids=asked.ids,
            request_id=asked.request_id,
            accepted_us=asked.at_us,
            bytes=len(body),
        )
        self._arriving, self.bytes = self._arriving + 1, self.bytes + len(body)
        try:
            await self._on_disk(partial(self._folder.keep, job, body))
        finally:
            self._arriving -= 1
            self.bytes -= len(body)
        entry = self._entries[job.id] = Entry(job)
        self._put(entry)
        return entry

    def _put(self, entry: Entry) -> None:
        entry.state, entry.dropped = State.QUEUED, False
        self._waiting.append(entry)
        self.bytes += entry.bytes
        self._wake.set()

    def get(self, model: str, name: str) -> Entry:
        """Return a job of a model.

        Raises:
            NotFound: If there is none of this name, or it was forgotten.
        """
        entry = self._entries.get(name)
        if entry is None or entry.model != model:
            raise NotFound(
                f"there is no job {name[:60]!r} of {model!r}",
                hint=f"how a job ended is kept for {KEPT_SECONDS // 3600} hours",
            )
        return entry

    def of(self, model: str) -> list[Entry]:
        """Return the jobs of a model, newest first."""
        return [one for one in reversed(self._entries.values()) if one.model == model]

    def position(self, entry: Entry) -> int:
        """Return 1 for the next that is scored, 0 for one that does not wait."""
        return self._waiting.index(entry) + 1 if entry in self._waiting else 0

    async def outcome(self, entry: Entry) -> tuple[Outcome, bytes]:
        """Return how a job ended, and its answer."""
        return await self._on_disk(partial(self._folder.outcome, entry.id))

    async def cancel(self, entry: Entry) -> None:
        """Have a job not be done.

        Raises:
            Conflict: If it is done already, or has failed.
            Unavailable: If that cannot be kept.
        """
        if entry.state is State.CANCELLED:
            return
        if entry.decided:
            said = entry.state if entry.state.final else "about to be done"
            raise Conflict(f"the job {entry.id} is {said}", hint="ask for its result")
        entry.decided = True
        outcome = self._outcome(entry, State.CANCELLED)
        try:
            await self._on_disk(partial(self._folder.end, outcome))
        except SetpointError:
            entry.decided = False
            if entry.dropped:
                self._put(entry)
            raise
        if entry in self._waiting:
            self._waiting.remove(entry)
            self.bytes -= entry.bytes
        self._ended(entry, outcome)

    async def _work(self) -> None:
        """Score one job after the other; forget old ones in between."""
        while True:
            self._forget()
            self._wake.clear()
            if not self._waiting:
                try:
                    async with asyncio.timeout(_SWEEP_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    continue
            while self._waiting:
                entry = self._waiting.popleft()
                self.bytes -= entry.bytes
                if not entry.decided:
                    await self._run(entry)

    async def _run(self, entry: Entry) -> None:
        """Score a job and keep how it ended, unless it is cancelled before all is scored."""
        entry.state, entry.started_us = State.RUNNING, self._serving.micros()
        error: SetpointError | None = None
        scored: _Scored | None = None
        try:
            scored = await self._score(entry)
        except SetpointError as found:
            error = found
        except Exception:  # noqa: BLE001 - the outermost frame of a job
            _log.exception("job failed", extra={"job": entry.id})
            error = SetpointError(problems.FAILED)
        if entry.decided:
            entry.dropped = True
            return
        entry.decided = True
        outcome, body = self._answered(entry, scored, error)
        await self._keep(outcome, body)
        self._ended(entry, outcome)

    async def _score(self, entry: Entry) -> _Scored | None:
        """Score a job, chunk by chunk; None if it is cancelled meanwhile.

        Raises:
            SetpointError: As the request would have been answered at once.
        """
        serving = self._serving
        while serving.endpoints.problem is not None:  # noqa: ASYNC110 - it has just started
            await asyncio.sleep(_RETRY_SECONDS / 10)
        job, body = await self._on_disk(partial(self._folder.job, entry.id))
        request, asked = await self._read(job, body)
        if asked.endpoint.absent:
            asked = structs.replace(asked, endpoint=await serving.bringing.whole(asked.endpoint))
        pace = self._paces.setdefault(job.model, Pace())
        parts: list[scoring.Part] = []
        start = 0
        while start < asked.rows.count:
            turn = monotonic() + pace.patience
            while serving.busy and monotonic() < turn:  # noqa: ASYNC110 - who waits is not burdened
                await asyncio.sleep(_LOOK_SECONDS)
            if entry.decided:
                return None
            stop = min(start + pace.rows, asked.rows.count)
            found = await self._beside(partial(_chunk, asked, start, stop, pace))
            if scoring.failure(found) is not None:
                return _Scored(request, asked, list(found))
            parts += found
            start = stop
        return _Scored(request, asked, parts)

    def _answered(
        self, entry: Entry, scored: _Scored | None, error: SetpointError | None
    ) -> tuple[Outcome, bytes]:
        """Log what was scored; return how the job ended, and its answer."""
        if scored is not None:
            started = perf_counter_ns() - sum(part.nanos for part in scored.parts)
            asked = structs.replace(scored.asked, started=started)
            try:
                predicted = self._serving.finish(asked, scored.parts)
                reply = open_inference.replied(predicted, scored.request)
            except SetpointError as found:
                error = found
            else:
                self._serving.after()
                done = self._outcome(entry, State.DONE)
                kind, headers = reply.kind, list(reply.headers)
                return structs.replace(done, kind=kind, headers=headers), reply.body
        error = error or SetpointError(problems.FAILED)
        failed = self._outcome(entry, State.FAILED)
        status, said = problems.status_of(error), problems.said(error)
        return structs.replace(failed, status=status, error=said), b""

    async def _keep(self, outcome: Outcome, body: bytes) -> None:
        """Keep how a job ended, as soon as there is room for it."""
        while True:
            try:
                await self._on_disk(partial(self._folder.end, outcome, body))
            except SetpointError as error:
                _log.warning("job not kept", extra={"job": outcome.id, "problem": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _read(self, job: Job, body: bytes) -> tuple[v2.InferRequest, Asked]:
        serving = self._serving
        endpoint = serving.endpoint(job.model)
        version = str(job.version) if job.version else None
        endpoint, number = open_inference.version_of(serving, endpoint, version)
        request, rows = await open_inference.read_whole(
            serving, endpoint, body, job.length, patient=True
        )
        parameters = request.parameters or v2.Parameters()
        request.parameters = structs.replace(
            parameters, ids=job.ids, keys=job.keys or None, route=job.route
        )
        request.id = job.request_id
        given = serving, endpoint, request, 0, number, rows
        return request, await self._beside(partial(open_inference.named, *given))

    def _outcome(self, entry: Entry, state: State) -> Outcome:
        return Outcome(
            id=entry.id,
            model=entry.model,
            state=state,
            rows=entry.rows,
            accepted_us=entry.accepted_us,
            started_us=entry.started_us,
            ended_us=self._serving.micros(),
        )

    def _ended(self, entry: Entry, outcome: Outcome) -> None:
        entry.ended(outcome)
        ended = self._serving.metrics.jobs
        key = entry.model, outcome.state.value
        ended[key] = ended.get(key, 0) + 1
        self._disk.submit(self._folder.settle, entry.id)

    def _forget(self) -> None:
        """Forget jobs that ended long ago."""
        ended = [entry for entry in self._entries.values() if entry.state.final]
        before = self._serving.micros() - KEPT_SECONDS * 1_000_000
        surplus = len(ended) - MOST_KEPT
        for i, entry in enumerate(ended):
            if entry.ended_us < before or i < surplus:
                del self._entries[entry.id]
                self._disk.submit(self._folder.forget, entry.id)

    async def _on_disk(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, act)

    async def _beside(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, act)


def _chunk(asked: Asked, start: int, stop: int, pace: Pace) -> Sequence[scoring.Part]:
    """Score some rows of a job; the parts say which rows of the whole they are."""
    began = perf_counter_ns()
    places = range(start, stop)
    rows = scoring.take(asked.rows, list(places))
    found = scoring.score_apart(asked.endpoint, rows, asked.keys[start:stop], asked.version)
    pace.took(stop - start, (perf_counter_ns() - began) / 1e9)
    return [
        structs.replace(part, index=[start + i for i in part.index or range(stop - start)])
        for part in found
    ]
