"""The jobs of one server: taken, scored one after the other behind the requests, kept for a day.

A job is scored in chunks of rows, in a thread that the system runs after the others, and a chunk
begins only when nobody waits for a slow model. Nothing of a job is logged before all of it is
scored, so one that was cancelled leaves nothing. The event loop alone decides how a job ends, and
decides once.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, perf_counter_ns
from typing import NamedTuple, TypeVar

from msgspec import structs

from setpoint.core.ids import new_id
from setpoint.errors import Conflict, NotFound, SetpointError
from setpoint.serve import problems, scoring
from setpoint.serve.answering import Answering
from setpoint.serve.batching import Crowded
from setpoint.serve.choosing import Tested
from setpoint.serve.jobs import reading
from setpoint.serve.jobs.disk import Folder
from setpoint.serve.jobs.entities import Job, Outcome, Sent, State
from setpoint.serve.jobs.entry import Entry
from setpoint.serve.jobs.outbox import Depot, Outbox
from setpoint.serve.jobs.pace import Pace
from setpoint.serve.prediction import Asked
from setpoint.serve.rest.contract import Asking
from setpoint.serve.timing import TimedOut
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


class _Scored(NamedTuple):
    """A job all of whose rows were scored, or whose last part failed."""

    asking: Asking
    parts: list[scoring.Part]


class Jobs:
    """Used by the event loop alone."""

    def __init__(self, serving: Answering, folder: Folder, depot: Depot | None = None) -> None:
        """Take over what waits in a folder, and what ended.

        Args:
            serving: The server.
            folder: The jobs'.
            depot: Where answers of invocations go; None: none are taken.
        """
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
        owed = folder.owed()
        self.outbox: Outbox | None = None
        self._left = set(owed)  # where there is no outbox
        if depot is not None:
            self.outbox = Outbox(depot, self._answer, self._settle, owed)
        elif owed:
            _log.warning("%d answers are not put: no SETPOINT_SERVE_ASYNC_OUTPUT", len(owed))

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Score what waits, and go on until `close`."""
        self._task = asyncio.get_running_loop().create_task(self._work())
        if self.outbox is not None:
            self.outbox.start()

    async def close(self) -> None:
        """Stop after the chunk that is being scored; the job begins again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.outbox is not None:
            await self.outbox.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._disk.shutdown()
        self._folder.close()

    def require_room(self, size: int = 0) -> None:
        """Refuse more than may wait.

        Raises:
            Crowded: If it would be more, with a body of so many bytes.
        """
        if self.waiting + self._arriving >= MOST_WAITING or self.bytes + size > MOST_BYTES:
            raise Crowded(
                f"{self.waiting} jobs of {self.bytes / 1e6:,.0f} MB wait",
                hint="send it again when some of them are done",
            )

    async def submit(
        self,
        asked: Asked,
        body: bytes,
        length: str = "",
        *,
        name: str = "",
        sent: Sent | None = None,
    ) -> Entry:
        """Take a request; when this returns, it will be scored, whatever is killed.

        Args:
            asked: It, read.
            body: What it was read from.
            length: Of the JSON in the body; see `Job`.
            name: The job's id; empty: a new one.
            sent: How it was invoked; None: by V2.

        Raises:
            Crowded: If too many wait already.
            Unavailable: If it cannot be kept.
        """
        self.require_room(len(body))
        job = Job(
            id=name or new_id("job"),
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
            sent=sent,
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
        return await self._answer(entry.id)

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
        error = Conflict(f"the job {entry.id} was cancelled")
        outcome, body = entry.unanswered(State.CANCELLED, error, self._serving.micros())
        try:
            await self._on_disk(partial(self._folder.end, outcome, body))
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
        until = _until(job, serving.micros())
        asking = await reading.read(serving, job, body, self._beside)
        asked = asking.asked
        if asked.endpoint.absent:
            asked = structs.replace(asked, endpoint=await serving.bringing.whole(asked.endpoint))
            asking = asking._replace(asked=asked)
        pace = self._paces.setdefault(job.model, Pace())
        parts: list[scoring.Part] = []
        start = 0
        while start < asked.rows.count:
            turn = monotonic() + pace.patience
            while serving.busy and monotonic() < turn:  # noqa: ASYNC110 - who waits is not burdened
                await asyncio.sleep(_LOOK_SECONDS)
            if entry.decided:
                return None
            if monotonic() > until:
                raise TimedOut(
                    "it took longer than it was given", hint="give it more, or fewer rows"
                )
            stop = min(start + pace.rows, asked.rows.count)
            found = await self._beside(partial(_chunk, asked, start, stop, pace))
            if scoring.failure(found) is not None:
                return _Scored(asking, list(found))
            parts += found
            start = stop
        return _Scored(asking, parts)

    def _answered(
        self, entry: Entry, scored: _Scored | None, error: SetpointError | None
    ) -> tuple[Outcome, bytes]:
        """Log what was scored; return how the job ended, and its answer."""
        if scored is not None:
            started = perf_counter_ns() - sum(part.nanos for part in scored.parts)
            asked = structs.replace(scored.asking.asked, started=started)
            try:
                reply = scored.asking.written(self._serving.finish(asked, scored.parts))
            except SetpointError as found:
                error = found
            else:
                self._serving.after()
                return entry.outcome(State.DONE, reply, self._serving.micros()), reply.body
        error = error or SetpointError(problems.FAILED)
        return entry.unanswered(State.FAILED, error, self._serving.micros())

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

    def _ended(self, entry: Entry, outcome: Outcome) -> None:
        entry.ended(outcome)
        ended = self._serving.metrics.jobs
        key = entry.model, outcome.state.value
        ended[key] = ended.get(key, 0) + 1
        if outcome.put and self.outbox is not None:
            self.outbox.put(entry.id)
        elif outcome.put:
            self._left.add(entry.id)
        else:
            self._settle(entry.id)

    def owes(self, entry: Entry) -> bool:
        """Tell whether the answer of a job is yet to be put somewhere."""
        return entry.id in self._left if self.outbox is None else self.outbox.owes(entry.id)

    def _settle(self, name: str) -> None:
        self._disk.submit(self._folder.settle, name)

    async def _answer(self, name: str) -> tuple[Outcome, bytes]:
        return await self._on_disk(partial(self._folder.outcome, name))

    def _forget(self) -> None:
        """Forget jobs that ended long ago."""
        ended = [entry for entry in self._entries.values() if entry.state.final]
        before = self._serving.micros() - KEPT_SECONDS * 1_000_000
        surplus = len(ended) - MOST_KEPT
        for i, entry in enumerate(ended):
            if entry.ended_us < before or (i < surplus and not self.owes(entry)):
                del self._entries[entry.id]
                self._settle(entry.id)
                self._disk.submit(self._folder.forget, entry.id)

    async def _on_disk(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, act)

    async def _beside(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, act)


def _until(job: Job, now_us: int) -> float:
    """Return when a job is given up, by `monotonic`.

    Raises:
        TimedOut: If it is too late to begin with it.
    """
    sent = job.sent
    if sent is not None and sent.lives and now_us - job.accepted_us > sent.lives * 1_000_000:
        raise TimedOut(f"it waited longer than {sent.lives} seconds", hint="let it wait longer")
    return monotonic() + sent.takes if sent is not None and sent.takes else math.inf


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
