"""The prediction log: one writer appends, any number of readers follow.

What is promised: a record whose `append` returned survives the death of the process
(`kill -9`), because its bytes are in the kernel's page cache by then. A power cut or a
kernel crash loses at most what was appended since the last sync, which happens every half
second. A record is read back whole or not at all.
"""

import contextlib
import fcntl
import itertools
import logging
import mmap
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

from setpoint.errors import Conflict, Unavailable
from setpoint.serve import frames, handover
from setpoint.serve.entities import LabelRecord, Position, Record
from setpoint.serve.frames import HEADER, MAGIC, START

BEGINNING = Position()
SEGMENT_BYTES = 16 << 20
SYNC_SECONDS = 0.5
_TOUCHED = 1 << 16  #: bytes of a segment that are brought into memory at a time
_POPULATE_WRITE = 23  #: MADV_POPULATE_WRITE of Linux, which `mmap` does not name
ROLL_SECONDS = 86_400.0  #: a segment is written to no longer: only whole segments expire

_logger = logging.getLogger(__name__)
_decoder = msgspec.msgpack.Decoder(Record)


def read(folder: Path, after: Position = BEGINNING) -> Iterator[tuple[Position, Record]]:
    """Yield the records after a position, each with the position after it.

    Stops at the end of what is written now; go on later from the last position yielded.
    Positions of segments that were sealed and deleted mean the oldest one that is left.
    """
    numbers = [n for n in frames.segments(folder) if n >= after.segment]
    for number in numbers:
        offset = after.offset if number == after.segment else 0
        path = frames.segment_path(folder, number)
        for end, payload in frames.payloads(path, offset, finished=number != numbers[-1]):
            yield Position(number, end), _decoder.decode(payload)


class LogWriter:
    """Appends records to a folder of segments; the only one that may at a time."""

    _segment: "_Segment"
    _number: int
    _at: int
    _touched: int
    _synced: tuple[int, int]
    _opened: float

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync_seconds: float = SYNC_SECONDS,
        roll_seconds: float = ROLL_SECONDS,
    ) -> None:
        """Lock the folder and begin a new segment.

        Raises:
            Conflict: If another process writes to this folder.
            Unavailable: If the folder cannot be written or the disk is full.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._roll_seconds = roll_seconds
        self._encode = msgspec.msgpack.Encoder().encode
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._retired: list[tuple[_Segment, int]] = []
        self._spare: _Segment | None = None  # the next one, so that a record need not wait for it
        self._made = itertools.count(1)
        self._renamed = False  # whether the folder has names that a power cut would lose
        self._closing = threading.Event()
        self.bytes = 0  #: appended by this writer, frames included
        self._holder = hold(folder)
        try:
            for left in folder.glob("*.new"):  # by one that was killed
                with contextlib.suppress(OSError):
                    left.unlink()
            existing = frames.segments(folder)
            if existing:
                _trim(frames.segment_path(folder, existing[-1]))
            last = existing[-1] if existing else 0
            self._open(last + 1, 0, handover.ready(folder))
            frames.sync_folder(folder)
        except BaseException:
            os.close(self._holder)
            raise
        self._syncer = threading.Thread(
            target=self._sync_often, args=(sync_seconds,), name="log-sync", daemon=True
        )
        self._syncer.start()

    def append(self, record: Record) -> None:
        """Write one record; when this returns, the record survives this process.

        Raises:
            Unavailable: If the disk is full or failing. The record is not in the log;
                appending works again once there is space.
        """
        payload = self._encode(record)
        size = HEADER.size + len(payload)
        with self._lock:
            if self._failure is not None:
                raise Unavailable(self._failure, hint="check the disk, then restart")
            if self._at + size > self._segment.size:
                self._roll(size)
            at = self._at
            if at + size > self._touched:
                self._touch(at + size)
            memory = self._segment.memory
            memory[at + HEADER.size : at + size] = payload
            HEADER.pack_into(memory, at, len(payload), crc32(payload))
            self._at = at + size
            self.bytes += size

    def adopt(self) -> None:
        """Take over the segments that others have finished, see `handover`.

        Raises:
            Unavailable: If there is no room for the segment that goes on after them.
        """
        if not handover.ready(self._folder):
            return
        with self._lock:
            taken = handover.ready(self._folder)  # another thread may have been quicker
            if taken:
                self._roll(0, taken)

    @property
    def folder(self) -> Path:
        """Where its segments are."""
        return self._folder

    @property
    def position(self) -> Position:
        """Where the next record goes."""
        with self._lock:
            return Position(self._number, self._at)

    def sync(self) -> None:
        """Make everything appended so far survive a power cut."""
        with self._lock:
            retired, self._retired = self._retired, []
            renamed, self._renamed = self._renamed, False
            file, at = os.dup(self._segment.file), (self._number, self._at)
            clean = at == self._synced
        try:
            for old, used in retired:
                old.finish(used)
            if renamed:
                frames.sync_folder(self._folder)
            if not clean:
                os.fdatasync(file)
                self._synced = at
        finally:
            os.close(file)

    def close(self) -> None:
        """Sync, give back the unused end of the segment, and let another writer in."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._syncer.join()
        with self._lock:
            self._retired.append((self._segment, self._at))
            self._failure = "the log is closed"
        try:
            for old, used in self._retired:
                old.finish(used)
            if self._spare is not None:
                self._spare.discard()
            frames.sync_folder(self._folder)
        finally:
            self._retired = []
            os.close(self._holder)

    def _open(self, number: int, needed: int, taken: Sequence[Path] = ()) -> None:
        """Begin the segment `number`, or a later one, with those `taken` over before it."""
        size = max(self._segment_bytes, START + needed)
        spare, self._spare = self._spare, None
        numbered = [frames.segment_path(self._folder, number + i) for i in range(len(taken) + 1)]
        try:
            if spare is not None and spare.size < size:
                spare.discard()
                spare = None
            segment = spare or _Segment(self._aside(), size)
            try:
                handover.rename([*taken, segment.path], numbered)
            except OSError:
                segment.discard()
                raise
        except OSError as error:
            raise Unavailable(
                "the prediction log has no room for another segment",
                where=f"{self._folder}: {error.strerror}",
                hint=f"free {size >> 20 or 1} MB of disk space",
            ) from None
        self._renamed = True
        self._segment = segment
        self._number, self._at, self._touched = number + len(taken), START, 0
        self._opened = time.monotonic()
        self._synced = self._number, START

    def _touch(self, end: int) -> None:
        """Have the system bring in the pages up to `end`, and some: all at once costs a third of
        one after the other as they are written to.
        """
        start = self._touched
        self._touched = min(-(-end // _TOUCHED) * _TOUCHED, self._segment.size)
        with contextlib.suppress(OSError):  # Linux before 5.14 and others: they come by themselves
            self._segment.memory.madvise(_POPULATE_WRITE, start, self._touched - start)

    def _roll(self, needed: int, taken: Sequence[Path] = ()) -> None:
        old = self._segment, self._at
        self._open(self._number + 1, needed, taken)
        self._retired.append(old)

    def _roll_if_old(self) -> None:
        with self._lock:
            if self._at > START and time.monotonic() - self._opened > self._roll_seconds:
                self._roll(0)

    def _aside(self) -> Path:
        """Return a name of its own for a segment that has no number yet: two threads make them."""
        return self._folder / f"next-{next(self._made)}.new"

    def _make_spare(self) -> None:
        """Have the next segment ready; without room for it, it is made when it is needed."""
        if self._spare is None:
            with contextlib.suppress(OSError):
                made = _Segment(self._aside(), self._segment_bytes)
                with self._lock:
                    self._spare = made

    def _sync_often(self, seconds: float) -> None:
        while not self._closing.wait(seconds):
            try:
                self.sync()
                self._roll_if_old()
                self.adopt()
                self._make_spare()
            except Unavailable as error:  # no room: the segment goes on until there is
                _logger.warning("log not rolled", extra={"problem": str(error)})
            except OSError as error:
                self._failure = f"the prediction log cannot be synced: {error.strerror}"
                _logger.exception("log sync failed")
                return


class _Segment:
    """A file of one size, in memory, that has a name of its own until it is the log's."""

    def __init__(self, path: Path, size: int) -> None:
        """Make it at a path that nobody else uses.

        Raises:
            OSError: If there is no room.
        """
        self.path = path
        self.size = size
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(self.file, 0, size)
            os.pwrite(self.file, MAGIC, 0)
            self.memory = mmap.mmap(self.file, size)
        except OSError:
            os.close(self.file)
            self.path.unlink(missing_ok=True)
            raise

    def finish(self, used: int) -> None:
        """Sync it, give back what of the disk and of memory is not used, and close it."""
        self.memory.close()
        os.fsync(self.file)
        os.ftruncate(self.file, used)
        _forget(self.file)
        os.close(self.file)

    def discard(self) -> None:
        """Delete it, unless it has got a number."""
        self.memory.close()
        os.close(self.file)
        self.path.unlink(missing_ok=True)


def _forget(file: int) -> None:
    """Have the system keep nothing of a synced file in memory.

    It would keep all of it, as long as there is room. Pages that were never used before are what a
    log of large requests costs most by: 20 of 62 µs of one of 32 x 30 doubles on a virtual machine,
    whose host brings them in one by one. And who reads the log has mostly read that far.
    """
    with contextlib.suppress(AttributeError, OSError):  # not on every system
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


class NoLog:
    """Takes the place of a log where none is kept: predictions are forgotten, labels refused."""

    bytes = 0
    position = BEGINNING
    folder = None

    def append(self, record: Record) -> None:
        """Forget a prediction.

        Raises:
            Conflict: If it is a label: who told it believes that it is kept.
        """
        if isinstance(record, LabelRecord):
            raise Conflict(
                "labels are not kept here: this server has no prediction log",
                hint="start it with SETPOINT_SERVE_LOG=DIR, a folder it may write to",
            )

    def close(self) -> None:
        """Do nothing; there is nothing to sync."""


Log = LogWriter | NoLog


def hold(folder: Path) -> int:
    """Lock `folder` for one writer; the lock dies with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holder = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Unavailable(
            "cannot write to the folder of the prediction log",
            where=f"{folder}: {error.strerror}",
            hint="choose a folder you may write to with --home DIR",
        ) from None
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(holder)
        raise Conflict(
            "another inference server writes the prediction log of this folder",
            where=str(folder),
            hint="stop it first, or choose another folder with --home DIR",
        ) from None
    return holder


def _trim(path: Path) -> None:
    """Give back the unused end of a segment whose writer was killed."""
    end = frames.end_of_frames(path)
    if end is not None:
        with contextlib.suppress(OSError):  # a read-only old segment is no reason to stop
            os.truncate(path, end)
