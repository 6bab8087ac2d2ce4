"""Threads beside the event loop: each endpoint has its own, so that a slow one holds up no other.

They are daemons and nobody waits for them to end: a model that hangs keeps its thread, and
not the process.
"""

import asyncio
import threading
from collections.abc import Callable, Collection
from queue import SimpleQueue
from typing import Any

from setpoint.serve.yielding import step_back

MOST_THREADS = 64  #: in all lanes; endpoints beyond share the lanes there are

Work = tuple["asyncio.Future[Any]", asyncio.AbstractEventLoop, Callable[..., Any], tuple[Any, ...]]


class Lane:
    """A few threads that take what is to be done in turn. Used by one event loop."""

    def __init__(self, name: str, threads: int, *, behind: bool = False) -> None:
        """Have so many threads, `behind` those that answer if nobody is to wait for these."""
        self._name = name
        self._behind = behind
        self._most = threads
        self._threads = 0
        self._queue: SimpleQueue[Work | None] = SimpleQueue()

    def run(self, function: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Call a function in a thread; its result is that of the future."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.put((future, loop, function, args))
        if self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """Let the threads end once they have done what is to be done."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _work(self) -> None:
        if self._behind:
            step_back(nice=0)
        # What was done is let go of before the next is waited for: it holds a model.
        while _done(self._queue.get()):
            pass


class Lanes:
    """The lanes of a server, made when they are first needed. Used by one event loop."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._lanes: dict[tuple[str, str, int], Lane] = {}

    def of(self, model: str, threads: int, what: str, served: Collection[str]) -> Lane:
        """Return the lane of an endpoint.

        Args:
            model: The endpoint's.
            threads: How many calls may run at the same time.
            what: For what: answers, or what nobody waits for.
            served: The models that are served now: lanes of others are given up.
        """
        key = model, what, threads
        found = self._lanes.get(key)
        if found is None:
            self._give_up(served)
            taken = sum(each for _, _, each in self._lanes)
            if taken + threads > self._most and self._lanes:
                keys = list(self._lanes)
                return self._lanes[keys[hash(key) % len(keys)]]
            name = f"{what} {model}"
            found = self._lanes[key] = Lane(name, threads)
        return found

    def close(self) -> None:
        """Let all threads end that do not hang."""
        for lane in self._lanes.values():
            lane.close()

    def _give_up(self, served: Collection[str]) -> None:
        for key in [key for key in self._lanes if key[0] not in served]:
            self._lanes.pop(key).close()


def _done(work: Work | None) -> bool:
    """Do something; tell whether there may be more."""
    if work is None:
        return False
    future, loop, function, args = work
    if future.cancelled():
        return True
    result: object = None
    failed: Exception | None = None
    try:
        result = function(*args)
    except Exception as error:  # noqa: BLE001 - told to who asked
        failed = error
    try:
        loop.call_soon_threadsafe(_tell, future, result, failed)
    except RuntimeError:  # the loop has ended meanwhile
        return False
    return True


def _tell(future: "asyncio.Future[Any]", result: object, failed: Exception | None) -> None:
    if future.done():  # whoever asked has gone
        return
    if failed is None:
        future.set_result(result)
    else:
        future.set_exception(failed)
