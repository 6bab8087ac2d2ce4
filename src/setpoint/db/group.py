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
from typing import Any, TypeVar

from setpoint.core.operations import Operation
from setpoint.db.local import LocalBackend
from setpoint.errors import SetpointError, Unavailable

C = TypeVar("C")
R = TypeVar("R")

_MOST = 512  #: writes a transaction

_Write = tuple[Operation[Any, Any], Any, "Future[Any]"]


class GroupCommit:
    """Runs writing operations of one store, several in each transaction."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def call(self, op: Operation[C, R], cmd: C) -> R:
        """Run a write, from any thread but an event loop's; returns when it is committed."""
        result: R = self._submit(op, cmd).result()
        return result

    async def run(self, op: Operation[C, R], cmd: C) -> R:
        """Run a write, from a coroutine; returns when it is committed."""
        result: R = await asyncio.wrap_future(self._submit(op, cmd))
        return result

    def close(self) -> None:
        """Write what waits and end the thread; a later write starts it anew."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join()

    def _submit(self, op: Operation[Any, Any], cmd: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self._waiting.put((op, cmd, future))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._work, name="group-commit", daemon=True
                    )
                    self._thread.start()
        return future

    def _work(self) -> None:
        while True:
            writes = [self._waiting.get()]
            while len(writes) < _MOST and not self._waiting.empty():
                writes.append(self._waiting.get_nowait())
            todo = [write for write in writes if write is not None]
            self._write(todo)
            if len(todo) < len(writes):
                return

    def _write(self, writes: Sequence[_Write]) -> None:
        for (_, _, future), outcome in zip(writes, self._outcomes(writes), strict=True):
            if not future.set_running_or_notify_cancel():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

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
                cmds = [writes[place][1] for place in places]
                for place, outcome in zip(places, _run(ctx, op, cmds), strict=True):
                    outcomes[place] = outcome
        return outcomes


def _by_operation(writes: Sequence[_Write]) -> list[tuple[Operation[Any, Any], list[int]]]:
    """Return the places of writes by operation where that takes many, else one by one.

    Writes that wait at the same time have no order among them: nobody has been answered yet.
    """
    groups: list[tuple[Operation[Any, Any], list[int]]] = []
    many: dict[str, list[int]] = {}
    for place, (op, _, _) in enumerate(writes):
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
