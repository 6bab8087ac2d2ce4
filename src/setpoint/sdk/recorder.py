"""One process's part of a run: its log, the thread that delivers it, and its end."""

import importlib
import logging
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from setpoint.artifacts.files import FileStore
from setpoint.config import Settings
from setpoint.errors import Unavailable
from setpoint.sdk.delivery import Delivery
from setpoint.sdk.folders import Meta, RunFolder
from setpoint.sdk.records import Left, Record
from setpoint.sdk.spool import Spool

if TYPE_CHECKING:
    from setpoint.core.operations import Backend

_PIECE = 1 << 20
_log = logging.getLogger("setpoint")


class Recorder:
    """Writes to a log of this process's own, and has it delivered.

    A forked child begins another log with the first thing that it records.
    """

    def __init__(self, meta: Meta, settings: Settings) -> None:
        """Begin a log.

        Raises:
            Unavailable: If the folder of logs cannot be written.
        """
        self.meta = meta
        self.settings = settings
        self._folder = RunFolder.of(settings.home, meta.run)
        self.lock = threading.RLock()  #: for what belongs to the run in this process
        self._spool: Spool | None = None
        self._delivery: Delivery | None = None
        self._closed = self._told = False
        self._open()
        _living.add(self)

    @property
    def objects(self) -> FileStore:
        """Where artifacts are put: the home's store, or beside the log until they are sent."""
        return self._folder.objects if self.moves else FileStore(self.settings.objects)

    @property
    def moves(self) -> bool:
        """Whether what is stored here has to go on to another store."""
        return (
            self.meta.url is not None or self.meta.offline or self.settings.artifact_url is not None
        )

    @property
    def folder(self) -> Path:
        return self._folder.path

    def points(self, points: list[tuple[str, int, float]], at: int) -> int:
        """Log points of one call; return their time, which may be a little later than `at`."""
        spool = self._spool or self._open()
        if self._closed:
            self._late()
            return at
        return spool.points(points, at)

    def record(self, record: Record) -> None:
        """Log anything else."""
        spool = self._spool or self._open()
        if self._closed:
            self._late()
        else:
            spool.record(record)

    def keep(self, path: str, content: bytes | Path) -> str:
        """Store a file of the run; return its address.

        Raises:
            Unavailable: If there is no space.
            OSError: If a file cannot be read.
        """
        with self.objects.incoming() as incoming:
            if isinstance(content, bytes):
                incoming.write(content)
            else:
                with content.open("rb") as file:
                    while piece := file.read(_PIECE):
                        incoming.write(piece)
            address, size = incoming.commit()
        self.record(Left(path=path, address=address, size=size))
        return address

    def flush(self, seconds: float) -> bool:
        """Make everything durable, and deliver it; tell whether that was done in time."""
        spool = self._spool
        if spool is None or self._closed:
            return True
        durable = spool.sync()
        return durable and (self._delivery is None or self._delivery.flush(seconds))

    @contextmanager
    def asking(self) -> Iterator["Backend"]:
        """Open the destination, to read what it has of the run.

        Raises:
            SetpointError: If it cannot be opened, or the run is offline.
        """
        if self.meta.offline:
            raise Unavailable("the run is offline", hint="deliver it with: setpoint sync")
        destination = importlib.import_module("setpoint.sdk.destination")
        with closing(destination.open_destination(self.settings, self.meta.url)) as to:
            yield to.backend

    def close(self, seconds: float) -> bool:
        """End the log and deliver the rest; tell whether it arrived in time."""
        with self.lock:
            spool, delivery, self._closed = self._spool, self._delivery, True
        _living.discard(self)
        if spool is not None:
            spool.close()
            if spool.lost:
                _log.warning("setpoint: %d records found neither disk nor memory", spool.lost)
        return delivery is None or delivery.finish(seconds)

    def forked(self) -> None:
        """Leave the parent's log to the parent. Called in a child that was forked."""
        for part in (self._spool, self._delivery):
            if part is not None:
                part.forget()
        self.lock = threading.RLock()
        self._spool = self._delivery = None

    def _late(self) -> None:
        if not self._told:
            self._told = True
            _log.warning("setpoint: run %s is over: what it logs now is lost", self.meta.run)

    def _open(self) -> Spool:
        with self.lock:
            if self._spool is not None:
                return self._spool
            try:
                self._spool = self._folder.join(self.meta)
            except OSError as error:
                raise Unavailable(
                    f"cannot begin a log in {self._folder.path.parent}",
                    where=error.strerror or "",
                    hint="choose a folder you may write to with home=…",
                ) from None
            if not self.meta.offline:
                writer = self._spool.folder.name
                self._delivery = Delivery(self._folder, self.meta, self.settings, writer)
            return self._spool


_living: "weakref.WeakSet[Recorder]" = weakref.WeakSet()


def _after_fork() -> None:
    for recorder in list(_living):
        with suppress(OSError):
            recorder.forked()


os.register_at_fork(after_in_child=_after_fork)
