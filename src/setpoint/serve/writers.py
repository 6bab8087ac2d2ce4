"""The prediction log of a server of several processes: each writes a log, all are read as one.

A process writes to ``log/w1``, ``log/w2``, … whichever it finds free, and a server of one process
to ``log`` itself. Whoever reads them reads all that there are, each from where it was: how many
processes there are may differ from one start to the next.
"""

import heapq
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from setpoint.errors import Conflict
from setpoint.serve import frames, log
from setpoint.serve.entities import Place, Position, Record
from setpoint.serve.log import LogWriter

_MOST = 1_000  #: folders to look for a free one in


def writers(folder: Path) -> list[str]:
    """Return the folders inside a log that were written to, ``""`` for itself, in order."""
    names = [path.name for path in folder.glob("w*") if path.name[1:].isdecimal()]
    return ["", *sorted(names, key=lambda name: int(name[1:]))]


def read(folder: Path, after: Place) -> Iterator[tuple[str, Position, Record]]:
    """Yield the records after a place, each with its writer and the position after it there.

    Those of several writers come by their time. Stops at the end of what is written now.
    """
    each = [_of(folder, name, after.of(name)) for name in writers(folder)]
    return heapq.merge(*each, key=lambda found: found[2].at_us) if len(each) > 1 else each[0]


def some(
    folder: Path, after: Place, *, records: int, rows: int
) -> tuple[list[tuple[str, Position, Record]], bool]:
    """Return about so much of what `read` yields, and whether it left something."""
    found: list[tuple[str, Position, Record]] = []
    seen = 0
    for one in read(folder, after):
        found.append(one)
        seen += len(one[2].ids)
        if len(found) >= records or seen >= rows:
            return found, True
    return found, False


def moved(after: Place, to: Mapping[str, Position]) -> Place:
    """Return the place after what was read of some writers."""
    first = to.get("", after.of(""))
    others = {name: position for name, position in to.items() if name}
    return Place(first.segment, first.offset, {**after.writers, **others})


def open_free(folder: Path) -> LogWriter:
    """Return a writer to the first folder inside a log to which nobody writes.

    Raises:
        Unavailable: If it cannot be written.
        Conflict: If there are far too many.
    """
    for number in range(1, _MOST):
        try:
            return LogWriter(folder / f"w{number}")
        except Conflict:
            continue
    raise Conflict(f"{_MOST} processes write to {folder}", hint="stop some of them")


def finish(folder: Path) -> None:
    """Begin segments wherever nobody writes, after the last that has anything in it.

    What is finished can be sealed and expires; a writer that does not come back, because there
    are fewer of them now, would leave its last segments for good: the one that is read and the
    one before it are kept.

    Raises:
        Unavailable: If a folder cannot be written.
    """
    for name in writers(folder):
        inside = folder / name
        with suppress(Conflict):  # somebody does write
            while frames.segments(inside) and not _two_empty(inside):
                LogWriter(inside).close()


def settled(folder: Path, after: Place) -> Place:
    """Return a place in the segments that are yet to be read, past those of which nothing is."""
    return moved(after, {name: _past(folder / name, after.of(name)) for name in writers(folder)})


def _past(inside: Path, at: Position) -> Position:
    numbers = [number for number in frames.segments(inside) if number >= at.segment]
    for number, following in pairwise(numbers):
        offset = at.offset if number == at.segment else 0
        path = frames.segment_path(inside, number)
        if next(frames.payloads(path, offset, finished=True), None) is not None:
            break
        at = Position(following, 0)
    return at


def _two_empty(inside: Path) -> bool:
    last = frames.segments(inside)[-2:]
    ends = [frames.end_of_frames(frames.segment_path(inside, number)) for number in last]
    return ends == [frames.START] * 2


def _of(folder: Path, writer: str, after: Position) -> Iterator[tuple[str, Position, Record]]:
    for position, record in log.read(folder / writer, after):
        yield writer, position, record
