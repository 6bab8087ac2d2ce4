"""The bytes of the log: segment files of frames, each a length, a CRC-32 and a payload.

A segment is allocated in full before its first frame, so that a full disk is an error
when the file is made and never a fault in the middle of a write, and its unused end is
zeros. A frame's payload is written before its header. So the end of what was written is a
header of zeros, and every bit that changed afterwards is found by the CRC.
"""

import logging
import os
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

MAGIC = b"setpoint log 1\n\0"
START = len(MAGIC)  #: offset of a segment's first frame
HEADER = struct.Struct("<II")  #: length and CRC-32 of the payload
SUFFIX = ".seg"

_CHUNK = 1 << 18
_LARGEST = 1 << 30
_log = logging.getLogger(__name__)


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}{SUFFIX}"


def segments(folder: Path) -> list[int]:
    """Return the numbers of the segments in `folder`, oldest first."""
    names = [path.stem for path in folder.glob(f"*{SUFFIX}")]
    return sorted(int(name) for name in names if name.isdigit())


def payloads(path: Path, offset: int, *, finished: bool) -> Iterator[tuple[int, bytes]]:
    """Yield ``(offset after the frame, payload)`` from `offset` to the last valid frame.

    Args:
        path: A segment. One that is gone (sealed meanwhile) has no frames.
        offset: Where to start: 0, or an offset that was yielded before.
        finished: Whether its writer went on to another segment. Then a damaged frame is
            stepped over (its length still says where the next one is, if that is valid)
            and reported; while a segment is written to, the reader stops before it.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        window = _Window(file)
        at = max(offset, START)
        while True:
            after, payload = _frame(window, at)
            if payload is not None:
                yield after, payload
            elif not finished or window.zeros(at):
                return
            else:
                _log.warning("log damaged", extra={"segment": path.name, "offset": at})
                if not after or (_frame(window, after)[0] == 0 and not window.zeros(after)):
                    return
            at = after
    finally:
        os.close(file)


def latest(folder: Path, count: int) -> Iterator[bytes]:
    """Yield up to `count` of the last payloads of the last two segments, newest first.

    Only the lengths of those before them are looked at. Damaged ones end it.
    """
    for number in reversed(segments(folder)[-2:]):
        try:
            data = segment_path(folder, number).read_bytes()
        except OSError:  # sealed meanwhile
            return
        places = deque[tuple[int, int]](maxlen=count)
        at = START
        while at + HEADER.size <= len(data):
            length, _ = HEADER.unpack_from(data, at)
            if not 0 < length <= len(data) - at - HEADER.size:
                break
            places.append((at, length))
            at += HEADER.size + length
        for start, length in reversed(places):
            _, crc = HEADER.unpack_from(data, start)
            payload = data[start + HEADER.size : start + HEADER.size + length]
            if crc32(payload) != crc:
                return
            yield payload
        count -= len(places)
        if count <= 0:
            return


def end_of_frames(path: Path) -> int | None:
    """Return where the valid frames of a segment end, None if anything follows them."""
    ends = [end for end, _ in payloads(path, START, finished=False)]
    at = ends[-1] if ends else START
    with path.open("rb") as file:
        file.seek(at)
        while block := file.read(_CHUNK):
            if block.count(0) != len(block):
                return None
    return at


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Window:
    """A file seen through one buffer, read forward; cheap for the tail of a big file."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._start = 0
        self._bytes = b""

    def get(self, at: int, size: int) -> bytes:
        """Return up to `size` bytes at `at`; fewer at the end of the file."""
        begin = at - self._start
        if begin < 0 or begin + size > len(self._bytes):
            self._bytes = os.pread(self._file, max(size, _CHUNK), at)
            self._start, begin = at, 0
        return self._bytes[begin : begin + size]

    def zeros(self, at: int) -> bool:
        header = self.get(at, HEADER.size)
        return header.count(0) == len(header)


def _frame(window: _Window, at: int) -> tuple[int, bytes | None]:
    """Return ``(end, payload)``; ``(end, None)`` if damaged, ``(0, None)`` if none is here."""
    header = window.get(at, HEADER.size)
    if len(header) < HEADER.size:
        return 0, None
    length, crc = HEADER.unpack(header)
    if not 0 < length < _LARGEST:
        return 0, None
    payload = window.get(at + HEADER.size, length)
    if len(payload) < length:
        return 0, None
    end = at + HEADER.size + length
    return end, payload if crc32(payload) == crc else None
