"""Uploads in parts: objects of their own until all are there, then one."""

import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from setpoint.artifacts.store import FileStore
from setpoint.config import Settings
from setpoint.core.clock import from_micros
from setpoint.server.mlflow import errors
from setpoint.server.mlflow.errors import Refused

MOST = 10_000  #: parts of an upload
_KEPT = timedelta(days=7)  #: an upload that nobody ended
_ID = re.compile(r"[0-9a-f]{32}")


def begin(settings: Settings, now: datetime) -> str:
    """Open an upload and return its id; forget those that were never ended."""
    root = _root(settings)
    root.mkdir(parents=True, exist_ok=True)
    for old in root.iterdir():
        if from_micros(old.stat().st_mtime_ns // 1000) < now - _KEPT:
            shutil.rmtree(old, ignore_errors=True)
    upload = secrets.token_hex(16)
    (root / upload).mkdir()
    return upload


def parts(settings: Settings, upload: str) -> FileStore:
    """Return where the parts of an upload are kept until it ends.

    Raises:
        Refused: If there is no such upload.
    """
    return FileStore(_folder(settings, upload) / "parts")


def arrived(settings: Settings, upload: str, number: int, address: str) -> None:
    """Note which object a part is; one that is sent again replaces the first.

    Raises:
        Refused: If the number is none of a part.
    """
    if not 1 <= number <= MOST:
        raise Refused(f"Invalid part number {number}: it is from 1 to {MOST}")
    (_folder(settings, upload) / str(number)).write_text(address)


def pieces(settings: Settings, upload: str, numbers: list[int]) -> Iterator[bytes]:
    """Yield the bytes of an upload's parts, in the order of `numbers`.

    Raises:
        Refused: If one of them has not arrived.
    """
    kept = parts(settings, upload)
    for number in numbers:
        note = _folder(settings, upload) / str(number)
        if not note.exists():
            raise Refused(f"Part {number} of the upload has not arrived")
        yield from kept.chunks(note.read_text())


def end(settings: Settings, upload: str) -> None:
    """Forget an upload and its parts."""
    shutil.rmtree(_folder(settings, upload), ignore_errors=True)


def _folder(settings: Settings, upload: str) -> Path:
    folder = _root(settings) / upload
    if not _ID.fullmatch(upload) or not folder.is_dir():
        raise Refused(f"There is no upload '{upload}'", errors.MISSING)
    return folder


def _root(settings: Settings) -> Path:
    return settings.home / "uploads"
