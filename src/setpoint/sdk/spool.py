"""The writing end of a run's log.

What is promised: a call of `points` or `record` that returned survives the death of the
process (`kill -9`), because its bytes lie in the kernel's page cache by then. A power cut
or a kernel crash loses at most what was written since the last sync, which happens every
50 ms. While the disk is full, records are held in memory, in order, and written as soon as
there is space.

The file format is that of `serve.frames`: segments allocated before they are written to,
frames with a length and a CRC-32.
"""

import contextlib
import fcntl
import logging
import mmap
import os
import threading
import time
from collections import deque
from pathlib import Path
from zlib import crc32

from setpoint.sdk.records import CALL, POINT, POINTS, Record, name_payload, record_payload
from setpoint.serve import frames
from setpoint.serve.frames import HEADER, START

MAGIC = b"setpoint run 1\n\0"
FIRST_BYTES = 256 << 10  #: of the first segment; each next one is four times as large
LARGEST_BYTES = 16 << 20
HELD_BYTES = 256 << 20  #: kept in memory while the disk is full; what comes then is lost
SYNC_SECONDS = 0.05

_Item = bytes | tuple[list[tuple[str, int, float]], int]  # a payload, or points and their time

_log = logging.getLogger("setpoint")


class Spool:
    """Appends to one folder of segments; one writer, any number of its threads."""

    def __init__(self, folder: Path) -> None:
        """Make the folder and hold it for as long as this process lives.

        The first segment is made here, but a disk that is full already is no error.

        Raises:
            OSError: If the folder cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.lost = 0  #: records that found neither disk nor memory
        self._holder = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._holder, fcntl.LOCK_EX)
        self._lock = threading.RLock()
        self._names: dict[str, int] = {}
        self._held: deque[tuple[_Item, int]] = deque()
        self._held_bytes = 0
        self._file = -1
        self._memory: mmap.mmap | None = None
        self._number, self._at, self._size = 0, 0, 0
        self._last = 0
        self._dirty = False
        self._busy = False  # whether a segment is being written to or changed
        self._retired: list[tuple[int, int]] = []
        self._full = False  # whether the last attempt at a segment found no space
        self._unsynced = False
        self._closing = threading.Event()
        self._open(FIRST_BYTES)
        self._keeper = threading.Thread(target=self._keep, name="setpoint-sync", daemon=True)
        self._keeper.start()

    def points(self, points: list[tuple[str, int, float]], at: int) -> int:
        """Append (name, step, value) of one call; return the time they were given.

        Times of one writer strictly increase, so a point that is delivered twice is told
        from a value that was logged twice.

        Args:
            points: Any number of them.
            at: Microseconds since 1970.
        """
        with self._lock:
            at = self._last = at if at > self._last else self._last + 1
            if self._busy or self._held or not self._put_known(points, at):
                self._take((points, at), 64 * len(points))
            return at

    def record(self, record: Record) -> None:
        """Append anything that is no point."""
        payload = record_payload(record)
        with self._lock:
            self._take(payload, len(payload))

    def sync(self) -> bool:
        """Make everything written so far survive a power cut; tell whether all is on disk."""
        with self._lock:
            if not self._busy:
                self._drain()
            retired, self._retired = self._retired, []
            dirty, self._dirty = self._dirty and self._file >= 0, False
            written = not self._held
        try:
            for old, used in retired:
                _retire(old, used)
            if dirty:
                self._sync_segment()
        except OSError as error:
            if not self._unsynced:
                _log.warning("setpoint: cannot sync %s: %s", self.folder, error.strerror)
            self._unsynced, written = True, False
        else:
            self._unsynced = False
        return written

    def close(self) -> None:
        """Sync, give back the unused end of the segment, and let go of the folder."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._keeper.join()
        with self._lock:
            self._drain()
            if self._held:
                self.lost += len(self._held)
                self._held.clear()
            self._retire()
        self.sync()
        os.close(self._holder)

    def forget(self) -> None:
        """Let go of everything in a child process: the parent goes on with this folder."""
        self._closing.set()
        for file in [self._file, self._holder, *(old for old, _ in self._retired)]:
            with contextlib.suppress(OSError):
                os.close(file)

    def _sync_segment(self) -> None:
        with self._lock:
            file = os.dup(self._file)  # which the next segment may replace meanwhile
        try:
            os.fdatasync(file)
        finally:
            os.close(file)

    def _put_known(self, points: list[tuple[str, int, float]], at: int) -> bool:
        """Write points whose names this segment knows, if it has room: the short way."""
        names = self._names
        self._busy = True
        try:
            rows = [POINT.pack(names[name], step, value) for name, step, value in points]
            payload = CALL.pack(POINTS, at) + b"".join(rows)
            if not self._fits(payload):
                return False
            self._write(payload)
        except KeyError:
            return False
        finally:
            self._busy = False
        return True

    def _take(self, item: _Item, size: int) -> None:
        """Write an item, or hold it in memory while there is no space.

        A signal handler that logs in the middle of this gets here with the lock of the
        thread that it interrupts: what it brings is put aside until that one is done.
        """
        self._held.append((item, size))
        self._held_bytes += size
        if not self._busy and not self._full:
            self._drain()

    def _put_points(self, points: list[tuple[str, int, float]], at: int) -> bool:
        payload = self._payload(points, at)
        if payload is not None:
            return self._put(payload)
        needed = sum(4 * len(name) + HEADER.size + POINT.size + 8 for name, _, _ in points)
        if not self._roll(needed):
            return False
        payload = self._payload(points, at)
        return payload is not None and self._put(payload)

    def _payload(self, points: list[tuple[str, int, float]], at: int) -> bytes | None:
        """Return the bytes of points, having written what is new of their names.

        None if this segment cannot take them all: the next one numbers names afresh.
        """
        names = self._names
        parts = [CALL.pack(POINTS, at)]
        for name, step, value in points:
            number = names.get(name)
            if number is None:
                number = len(names)
                written = name_payload(number, name)
                if not self._fits(written):
                    return None
                self._write(written)
                names[name] = number
            parts.append(POINT.pack(number, step, value))
        payload = b"".join(parts)
        return payload if self._fits(payload) else None

    def _put(self, payload: bytes) -> bool:
        if not self._fits(payload) and not self._roll(len(payload)):
            return False
        self._write(payload)
        return True

    def _fits(self, payload: bytes) -> bool:
        return HEADER.size + len(payload) <= self._size - self._at

    def _write(self, payload: bytes) -> None:
        """Write one frame, payload before header, so that it is read whole or not at all."""
        memory, at = self._memory, self._at
        size = HEADER.size + len(payload)
        memory[at + HEADER.size : at + size] = payload  # type: ignore[index]
        HEADER.pack_into(memory, at, len(payload), crc32(payload))  # type: ignore[arg-type]
        self._at = at + size
        self._dirty = True

    def _roll(self, needed: int) -> bool:
        larger = min(max(self._size * 4, FIRST_BYTES), LARGEST_BYTES)
        return self._open(max(larger, needed + START + 2 * HEADER.size))

    def _open(self, size: int) -> bool:
        """Begin the next segment; on a full disk stay where we are, and say so once."""
        path = frames.segment_path(self.folder, self._number + 1)
        file = -1
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.posix_fallocate(file, 0, size)
            memory = mmap.mmap(file, size)
        except OSError as error:
            if file >= 0:
                os.close(file)
                path.unlink(missing_ok=True)
            self._complain(error)
            return False
        self._retire()
        memory[:START] = MAGIC
        self._file, self._memory, self._size, self._at = file, memory, size, START
        self._number += 1
        self._names.clear()
        if self._full:
            _log.warning("setpoint: there is space again in %s; nothing is missing", self.folder)
            self._full = False
        return True

    def _drain(self) -> None:
        """Write what is held, in its order, as far as there is space.

        Of what there is neither space nor memory for, the newest is lost and counted.
        """
        self._busy = True
        try:
            while self._held:
                item, size = self._held[0]
                put = self._put(item) if isinstance(item, bytes) else self._put_points(*item)
                if not put:
                    break
                self._held.popleft()
                self._held_bytes -= size
            while self._held_bytes > HELD_BYTES:
                self._held_bytes -= self._held.pop()[1]
                self.lost += 1
        finally:
            self._busy = False

    def _retire(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            self._retired.append((self._file, self._at))
        self._file, self._size = -1, 0

    def _complain(self, error: OSError) -> None:
        if not self._full:
            self._full = True
            _log.warning(
                "setpoint: cannot write to %s (%s); the run goes on, what it logs is kept in "
                "memory until there is space",
                self.folder,
                error.strerror,
            )

    def _keep(self) -> None:
        while not self._closing.wait(SYNC_SECONDS):
            if self._dirty or self._held or self._retired:
                self.sync()


def now() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1_000


def _retire(file: int, used: int) -> None:
    os.fsync(file)
    os.ftruncate(file, used)
    os.close(file)
