"""Copying SQLite's log back into its file beside the thread that writes, not in its commits.

SQLite copies the log back in whichever commit makes it too long, and that one waits until the
disk has all of it, twice: half a second in which nobody is answered. Here a thread does so every
second. The log begins anew only at a moment when all of it is copied, which under load is never;
so when it is long, the writer itself copies what came since: a few milliseconds.
"""

import sqlite3
import threading
from typing import Self

from sqlalchemy import Engine

from setpoint.errors import Unavailable

_EVERY = 1.0  #: seconds
_LONG = 8_000  #: pages, 32 MB: a third of where SQLite copies it in a commit
_ROUNDS = 3  #: before the writer copies the rest: each leaves less


class Checkpoints:
    """The thread that copies the log of one database back; on PostgreSQL there is none to do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._written = threading.Event()
        self._long = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._engine.dialect.name == "sqlite":
            self._stop.clear()
            self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def written(self) -> None:
        """Take note of a commit; called between transactions, by the thread that writes."""
        self._written.set()
        if self._long.is_set():
            self._long.clear()
            self._copy()

    def _work(self) -> None:
        while not self._stop.wait(_EVERY):
            if not self._written.is_set():
                continue
            self._written.clear()
            if self._copy() >= _LONG:
                for _ in range(_ROUNDS - 1):
                    self._copy()
                self._long.set()

    def _copy(self) -> int:
        """Copy back what no reader still needs; return how many pages the log has."""
        try:
            conn = self._engine.raw_connection()  # without a transaction, in which it is refused
        except Unavailable:
            return 0
        try:
            return int(conn.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
        except sqlite3.OperationalError:  # a full disk, say: who writes is told so
            return 0
        finally:
            conn.close()
