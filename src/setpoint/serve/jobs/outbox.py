"""What invocations leave in S3: inputs that are fetched there, answers that are put there.

An answer is owed from the moment its job ended until it is there: over kills of the server, and
while S3 is away. It is put again where nobody knows whether it was, which changes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from setpoint.errors import MissingExtra, NotFound, SetpointError
from setpoint.serve import problems
from setpoint.serve.batching import Crowded
from setpoint.serve.jobs.entities import Outcome
from setpoint.serve.jobs.locations import Places, place, places
from setpoint.serve.waiting import outcome

if TYPE_CHECKING:
    from setpoint.config import Aws

MOST_FETCHING = 32  #: inputs on their way, or that wait for it
_AT_ONCE = 4  #: inputs that come
_PAUSE_SECONDS = 2.0  #: after all that is owed was tried in vain

_log = logging.getLogger(__name__)


class Depot:
    """Where answers go, and how S3 is reached for that."""

    def __init__(self, output: str, aws: "Aws") -> None:
        """Name the place.

        Args:
            output: ``s3://BUCKET/PREFIX``
            aws: Who asks.

        Raises:
            Invalid: If that is no place.
            MissingExtra: If S3's client is not installed.
        """
        self.within = place(output)
        try:
            from setpoint.serve.jobs.objects import Objects  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingExtra(
                "answers in S3 need its client",
                where=f"SETPOINT_SERVE_ASYNC_OUTPUT={output}",
                hint="pip install 'setpoint[s3]', or build the image: setpoint build --with s3",
            ) from None
        self.objects = Objects(aws)


class Outbox:
    """Used by the event loop alone."""

    def __init__(
        self,
        depot: Depot,
        answer: Callable[[str], Awaitable[tuple[Outcome, bytes]]],
        settle: Callable[[str], object],
        owed: Iterable[str],
    ) -> None:
        """Say where answers go.

        Args:
            depot: The place.
            answer: Returns how a job ended.
            settle: Called with a job whose answer is there.
            owed: The jobs whose answers are yet to be put, from before.
        """
        self._depot = depot
        self._answer = answer
        self._settle = settle
        self._owed: dict[str, None] = dict.fromkeys(owed)  # in turn
        self._told = ""
        self._fetching = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Put what is owed, and go on until `close`."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Put nothing more; what is still owed is put after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def owes(self, name: str) -> bool:
        """Tell whether the answer of a job is yet to be put."""
        return name in self._owed

    def places(self, job: str, extension: str, filename: str) -> Places:
        """Return where the answer of a job is put.

        Raises:
            Invalid: As `locations.places` does.
        """
        return places(self._depot.within, job, extension, filename)

    async def fetch(self, where: str, most: int) -> bytes:
        """Return an input.

        Raises:
            Crowded: If too many are on their way already.
            SetpointError: As `Objects.read` does.
            Gone: If the client hangs up meanwhile.
        """
        if self._fetching >= MOST_FETCHING:
            raise Crowded(f"{self._fetching} inputs are on their way", hint="send it again later")
        self._fetching += 1
        try:
            found: bytes = await outcome(asyncio.ensure_future(self._read(where, most)), None)
        finally:
            self._fetching -= 1
        return found

    async def _read(self, where: str, most: int) -> bytes:
        async with self._room:
            return await self._depot.objects.read(where, most)

    def put(self, name: str) -> None:
        """Have the answer of a job that ended be put."""
        self._owed[name] = None
        self._wake.set()

    async def _work(self) -> None:
        failed = 0  # one after the other
        while True:
            self._wake.clear()
            if not self._owed:
                await self._wake.wait()
                continue
            if failed >= len(self._owed):
                failed = 0
                await asyncio.sleep(_PAUSE_SECONDS)
            name = next(iter(self._owed))
            problem = await self._try(name)
            del self._owed[name]
            if problem:
                self._owed[name] = None  # behind the others
                failed += 1
            else:
                self._settle(name)
                failed = 0
            if problem and problem != self._told:
                _log.warning("answer not put", extra={"job": name, "problem": problem})
            self._told = problem

    async def _try(self, name: str) -> str:
        """Put an answer; return what was wrong, empty if it is there or nobody waits for it."""
        try:
            ended, body = await self._answer(name)
        except NotFound:  # it was forgotten
            return ""
        kind = ended.kind.decode("latin-1")
        try:
            await self._depot.objects.write(ended.put, body, kind)
        except SetpointError as error:
            return str(error)
        except Exception:  # noqa: BLE001 - the outermost frame of an answer
            _log.exception("answer not put", extra={"job": name})
            return problems.FAILED
        return ""
