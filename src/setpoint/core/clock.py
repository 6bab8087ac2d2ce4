"""What time it is. Everything that needs the time is handed a `Clock` or a `datetime`."""

import mmap
import os
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS = struct.Struct("<q")


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the time: aware, UTC."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def set(self, at: datetime) -> None:
        self._at = at

    def advance(self, by: timedelta) -> None:
        self._at += by


class FileClock:
    """A manual clock that many processes share: eight bytes in a memory-mapped file.

    A replay moves it; the inference server, the controller and the pages all obey it. It
    outlives every process, so a replay that was killed goes on at the time it had reached.
    """

    def __init__(self, path: Path, *, start: datetime | None = None) -> None:
        if not path.exists():
            at = start or SystemClock().now()
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(_MICROS.pack(to_micros(at)))
            temporary.rename(path)
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _MICROS.size)

    def now(self) -> datetime:
        (micros,) = _MICROS.unpack_from(self._memory)
        return from_micros(micros)

    def set(self, at: datetime) -> None:
        _MICROS.pack_into(self._memory, 0, to_micros(at))


def clock_of(home: Path) -> Clock:
    """Return the clock of the store in `home`: a replay's own, if it is one."""
    simulated = home / "clock"
    return FileClock(simulated) if simulated.exists() else SystemClock()


def to_micros(at: datetime) -> int:
    """Return whole microseconds since 1970."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    """Return the aware UTC datetime of `micros` since 1970."""
    return _EPOCH + timedelta(microseconds=micros)
