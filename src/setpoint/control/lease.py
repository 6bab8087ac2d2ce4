"""Who works on a store: one controller at a time, and one that lost its turn stops at once.

A lease is a row with a name and an end, renewed while its holder lives. Its holder may be
stopped for longer (a laptop that sleeps, a database that is away) and come back when
another has taken over. So every transaction that acts looks at the lease first (`check`)
and locks it: what a holder that lost it had begun does not happen.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from setpoint.control import store
from setpoint.db.local import LocalBackend
from setpoint.errors import SetpointError, Unavailable

NAME = "controller"
LASTS = timedelta(seconds=15)
_WAIT_SECONDS = 1.0


class LeaseLost(Unavailable):
    """Another controller works on this store now."""


class Lease:
    """The right to act on one store. Use it from one thread; it is renewed by another."""

    def __init__(self, home: LocalBackend, *, lasts: timedelta = LASTS) -> None:
        self._home = home
        self._lasts = lasts
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._held = False
        self._lost = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether it was held and is not any more."""
        return self._lost.is_set()

    @contextmanager
    def held(self, stopping: threading.Event) -> Iterator[bool]:
        """Hold the lease, renewed in the background; wait for it if need be.

        The lease of a process of this machine that died is taken over at once, any other
        when it runs out. The block gets False if `stopping` was set before that.
        """
        while not self._acquire():
            if stopping.wait(_WAIT_SECONDS):
                yield False
                return
        self._lost.clear()
        self._held = True
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(done,), name="lease", daemon=True)
        thread.start()
        try:
            yield True
        finally:
            done.set()
            thread.join()
            self._held = False
            with self._home.engine.begin() as conn:
                store.release(conn, NAME, self.holder)

    def check(self, conn: Connection) -> None:
        """Keep the lease to the end of this transaction; without one held, do nothing.

        Raises:
            LeaseLost: If another controller has it. Nothing may be written.
        """
        if self._held and (self.lost or store.holder(conn, NAME, lock=True) != self.holder):
            self._lost.set()
            raise LeaseLost(
                "another controller works on this store: this one was away for too long",
                hint="nothing is lost; this one waits for its turn",
            )

    def _acquire(self) -> bool:
        now = datetime.now(UTC)  # a lease is about this process's life, not the store's time
        with self._home.engine.begin() as conn:
            if store.acquire(conn, NAME, self.holder, now=now, lasts=self._lasts):
                return True
            holder = store.holder(conn, NAME)
            if holder is None or not _is_dead(holder):
                return False
            store.release(conn, NAME, holder)
            return store.acquire(conn, NAME, self.holder, now=now, lasts=self._lasts)

    def _renew(self, done: threading.Event) -> None:
        """Renew until done or lost; while the database is away, until it would have run out."""
        seconds = self._lasts.total_seconds()
        sure_until = time.monotonic() + seconds
        while not done.wait(seconds / 3):
            try:
                with self._home.engine.begin() as conn:
                    until = datetime.now(UTC) + self._lasts
                    mine = store.renew(conn, NAME, self.holder, until=until)
            except SetpointError:
                mine = time.monotonic() < sure_until
            else:
                sure_until = time.monotonic() + seconds
            if not mine:
                self._lost.set()
                return


def _is_dead(holder: str) -> bool:
    """Tell whether the holder of a lease was a process of this machine that is gone."""
    host, pid, _ = (*holder.rsplit(":", 2), "", "")[:3]
    return host == socket.gethostname() and not Path(f"/proc/{pid}").exists()
