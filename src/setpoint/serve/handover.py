"""Segments that others than the log's writer finish, for it to take over.

A table of ten million rows is not sent through the inference server to be logged: whoever scores
it writes segments of the log's own format into ``log/incoming``, and the writer of the log gives
them the next numbers by renaming them. Until a segment is released it is nobody's, and may be
written again; from then on it is the log's, once.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

from setpoint.errors import Unavailable
from setpoint.serve.entities import Record
from setpoint.serve.frames import HEADER, MAGIC, sync_folder

_PENDING, _READY = ".pending", ".ready"
_encode = msgspec.msgpack.Encoder().encode


def folder_of(log: Path) -> Path:
    """Return where segments wait for the writer of a log."""
    return log / "incoming"


def write(log: Path, name: str, records: Iterable[Record]) -> None:
    """Write a segment that is not released yet, or write it again; it survives a power cut.

    Raises:
        Unavailable: If the disk is full or the folder cannot be written.
    """
    folder = folder_of(log)
    path = folder / (name + _PENDING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(MAGIC)
            for record in records:
                payload = _encode(record)
                file.write(HEADER.pack(len(payload), crc32(payload)))
                file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise Unavailable(
            "the predictions cannot be written to the prediction log",
            where=f"{folder}: {error.strerror}",
            hint="free disk space and run it again, or leave the log out with --no-log",
        ) from None


def release(log: Path, name: str) -> None:
    """Give a segment to the log; one that was given before stays as it is."""
    path = folder_of(log) / (name + _PENDING)
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_suffix(_READY))
        sync_folder(path.parent)


def discard(log: Path, prefix: str) -> None:
    """Delete segments that were never released, of names that begin so."""
    for path in folder_of(log).glob(f"{prefix}*{_PENDING}"):
        path.unlink(missing_ok=True)


def ready(log: Path) -> list[Path]:
    """Return the segments that wait for the writer, by name."""
    try:
        return sorted(path for path in folder_of(log).iterdir() if path.suffix == _READY)
    except FileNotFoundError:
        return []


def rename(files: Sequence[Path], to: Sequence[Path]) -> None:
    """Rename all files or none.

    Raises:
        OSError: If one cannot be; the others have their old names.
    """
    done: list[tuple[Path, Path]] = []
    try:
        for old, new in zip(files, to, strict=True):
            old.rename(new)
            done.append((old, new))
    except OSError:
        for old, new in reversed(done):
            new.rename(old)
        raise
