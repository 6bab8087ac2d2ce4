"""Many writes in one transaction, each with an outcome of its own.

A commit costs much the same for one row as for a thousand, and SQLite has one writer at a time.
So one thread writes: it takes whatever waits, runs it in one transaction, commits, and only then
answers. Alone, a write waits for nobody; under load, more and more share a commit.
"""

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from setpoint.core.operations import Operation
from setpoint.db.checkpoints import Checkpoints
from setpoint.db.local import LocalBackend
from setpoint.errors import SetpointError, Unavailable

C = TypeVar("C")
R = TypeVar("R")

_MOST = 512  #: writes a transaction


class _Write(NamedTuple):
    """A write that waits, and who is told what came of it."""

    op: Operation[Any, Any]
    cmd: Any
    future: "Future[Any] | asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop | None  #: of the future; None: a thread waits


class GroupCommit:
    """Runs writing operations of one store, several in each transaction."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend
        self._checkpoints = Checkpoints(backend.engine)
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def call(self, op: Operation[C, R], cmd: C) -> R:
        """Run a write, from any thread but an event loop's; returns when it is committed."""
        future: Future[R] = Future()
        self._submit(_Write(op, cmd, future, None))
        return future.result()

    async def run(self, op: Operation[C, R], cmd: C) -> R:
        """Run a write, from a coroutine; returns when it is committed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._submit(_Write(op, cmd, future, loop))
        return await future

    def close(self) -> None:
        """Write what waits and end the thread; a later write starts it anew."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join()

    def _submit(self, write: _Write) -> None:
        self._waiting.put(write)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._work, name="group-commit", daemon=True
                    )
                    self._thread.start()

    def _work(self) -> None:
        with self._checkpoints:
            while True:
                writes = [self._waiting.get()]
                while len(writes) < _MOST and not self._waiting.empty():
                    writes.append(self._waiting.get_nowait())
                todo = [write for write in writes if write is not None]
                _tell(todo, self._outcomes(todo))
                self._checkpoints.written()
                if len(todo) < len(writes):
                    return

    def _outcomes(self, writes: Sequence[_Write]) -> list[Any]:
        """Run writes in one transaction; if one breaks it, each in a transaction of its own."""
        if not writes:
            return []
        try:
            return self._together(writes)
        except Unavailable:
            # PostgreSQL ends one of two writers that wait for each other: once more is enough.
            try:
                return self._together(writes)
            except Exception as error:  # noqa: BLE001 - told to whoever asked, whatever it is
                return [error] * len(writes)
        except Exception as error:  # noqa: BLE001 - told to whoever asked, whatever it is
            if len(writes) == 1:
                return [error]
            return [outcome for write in writes for outcome in self._outcomes([write])]

    def _together(self, writes: Sequence[_Write]) -> list[Any]:
        outcomes: list[Any] = [None] * len(writes)
        with self._backend.engine.begin() as conn:
            ctx = self._backend.context(conn)
            for op, places in _by_operation(writes):
                cmds = [writes[place].cmd for place in places]
                for place, outcome in zip(places, _run(ctx, op, cmds), strict=True):
                    outcomes[place] = outcome
        return outcomes


def _tell(writes: Sequence[_Write], outcomes: Sequence[Any]) -> None:
    """Answer those who wait: each thread, and each event loop once for all that it waits for.

    A loop that were woken for every answer would fight the writing thread for the interpreter.
    """
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for write, outcome in zip(writes, outcomes, strict=True):
        if isinstance(write.future, Future):
            _settle(write.future, outcome)
        elif write.loop is not None:
            loops.setdefault(write.loop, []).append((write.future, outcome))
    for loop, told in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle_all, told)


def _settle_all(told: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, outcome in told:
        if not future.done():  # whoever asked has gone
            _settle(future, outcome)


def _settle(future: "Future[Any] | asyncio.Future[Any]", outcome: Any) -> None:
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _by_operation(writes: Sequence[_Write]) -> list[tuple[Operation[Any, Any], list[int]]]:
    """Return the places of writes by operation where that takes many, else one by one.

    Writes that wait at the same time have no order among them: nobody has been answered yet.
    """
    groups: list[tuple[Operation[Any, Any], list[int]]] = []
    many: dict[str, list[int]] = {}
    for place, (op, *_) in enumerate(writes):
        if op.many is not None and op.name in many:
            many[op.name].append(place)
            continue
        groups.append((op, [place]))
        if op.many is not None:
            many[op.name] = groups[-1][1]
    return groups


def _run(ctx: Any, op: Operation[Any, Any], cmds: list[Any]) -> list[Any]:
    if op.many is not None:
        return op.many(ctx, cmds)
    outcomes: list[Any] = []
    for cmd in cmds:
        savepoint = ctx.conn.begin_nested()
        try:
            outcomes.append(op(ctx, cmd))
            savepoint.commit()
        except SetpointError as error:
            savepoint.rollback()
            outcomes.append(error)
    return outcomes
