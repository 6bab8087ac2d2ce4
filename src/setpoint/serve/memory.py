"""What of a server's models is in memory, what it takes there, and who makes room for whom.

What a version takes is estimated by its stored size until it was loaded once, and measured from
then on: by how much more the C allocator has handed out once it is loaded and warm (nearly all of
a model's bytes are its: arrays, trees, sessions), never less than the stored size; for a model in
a process of its own by that process's share of memory. Resident memory of this process would say
less: what a load used only for a while stays in it, and what another one left is used again.
"""

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from setpoint.serve.protocols import Predictor
from setpoint.serve.yielding import undisturbed

#: Which endpoint: a model, and the number of a version that is named; 0: what is deployed.
Key = tuple[str, int]
#: One loaded version: ``(model, version)``.
Version = tuple[str, int]

_MMAP_THRESHOLD, _LARGE = -3, 128 * 1024  #: from which a piece of memory is given back whole
_AGAIN_SECONDS = 5.0  #: before a version that did not load is tried again
_PAGE_KB = 1024

_log = logging.getLogger(__name__)


class Unit(NamedTuple):
    """What is loaded and given up together: the versions behind an endpoint."""

    key: Key
    bytes: int
    asked_us: int  #: when it was last asked, or loaded
    kept: bool  #: it is pinned, or being asked


class Failed(Struct, frozen=True):
    """A load that failed."""

    why: str
    generation: int
    until: float  #: `time.monotonic` before which it is not tried again


class Memory:
    """The sizes of what was loaded, and what may not be given up. One load at a time."""

    def __init__(self, limit: int | None = None) -> None:
        """Hold models within `limit` bytes; None: all of them, whatever they take."""
        self.limit = limit
        self.one = threading.RLock()  #: held while something is loaded or given up
        self.loading: Key | None = None
        self.pinned: set[Key] = set()
        self.failed: dict[Key, Failed] = {}
        self._sizes: dict[Version, int] = {}
        if limit is not None:
            give_back_large()

    def size(self, version: Version, stored: int = 0) -> int:
        """Return what a version takes: measured, or else estimated by its stored size."""
        return self._sizes.get(version, stored)

    @contextmanager
    def measured(self, version: Version, stored: int) -> Iterator[Callable[[Predictor], None]]:
        """Measure what a version takes that is loaded meanwhile; tell it the predictor."""
        before = allocated()
        found: list[Any] = []
        with undisturbed():
            yield found.append
        taken = max(allocated() - before, stored, 0)
        if found:
            taken += sum(share_of(pid) for pid in getattr(found[0], "pids", ()))
        self._sizes[version] = taken

    def refuse(self, key: Key, why: str, generation: int) -> None:
        """Note that a load failed."""
        self.failed[key] = Failed(why, generation, time.monotonic() + _AGAIN_SECONDS)

    def refused(self, key: Key, generation: int) -> str | None:
        """Return why a load failed that is not to be tried again yet."""
        known = self.failed.get(key)
        if known is None or known.generation != generation or time.monotonic() > known.until:
            return None
        return known.why


def to_give_up(held: Sequence[Unit], limit: int, needed: int = 0) -> list[Key]:
    """Return what makes room, the least recently asked first; as little as it takes.

    Args:
        held: What is in memory.
        limit: Bytes for all of it.
        needed: Bytes that are to be free besides.

    Returns:
        All that may be given up where even that is not enough.
    """
    over = sum(unit.bytes for unit in held) + needed - limit
    found = []
    for unit in sorted(held, key=lambda one: one.asked_us):
        if over <= 0:
            break
        if not unit.kept and unit.bytes:
            found.append(unit.key)
            over -= unit.bytes
    return found


class _Allocated(ctypes.Structure):
    """`struct mallinfo2` of the GNU C library."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")
    ] + [(name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")]


def allocated() -> int:
    """Return the bytes that the C allocator has handed out, or else those that are resident."""
    asked = _library("mallinfo2")
    if asked is None:
        return resident()
    asked.restype = _Allocated
    told: Any = asked()
    return int(told.uordblks + told.hblkhd)


def give_back_large() -> None:
    """Have the allocator ask the system for each large piece, and give it back when it is freed.

    By default it keeps pieces of up to 32 MB once it has seen such, for the next one: a process
    that loads and gives up models then grows far beyond what they take.
    """
    asked = _library("mallopt")
    if asked is not None:
        asked(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Give unused memory back to the system; without Python's lock, in a few milliseconds."""
    asked = _library("malloc_trim")
    if asked is not None:
        asked(0)


def share_of(pid: int) -> int:
    """Return the bytes of memory that a process has, with its share of what several have."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * _PAGE_KB
    return 0


@cache
def _library(name: str) -> Any:
    """Return a function of the C library; None where that has none of this name."""
    return getattr(ctypes.CDLL(None), name, None)


def resident() -> int:
    """Return the bytes of memory that this process has; 0 where the system does not say."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096
    return 0
