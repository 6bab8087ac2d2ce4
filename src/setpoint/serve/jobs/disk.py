"""Jobs in files: ``ID.job`` is a request that was taken, ``ID.end`` how it ended.

Each appears by a rename, whole and synced. A job without an end is to be run, and run again where
its server was killed meanwhile: its prediction ids are in it, so its rows count once. Of a job with
an end the request is deleted, once its answer is where it is to be put.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from setpoint.errors import Conflict, NotFound, Unavailable
from setpoint.serve.frames import sync_folder
from setpoint.serve.jobs.entities import Job, Outcome

_JOB, _END = ".job", ".end"
_SIZE = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
T = TypeVar("T", Job, Outcome)


class Folder:
    """The jobs of one server. All of it blocks: it is used beside the event loop."""

    def __init__(self, path: Path) -> None:
        """Hold the folder.

        Raises:
            Conflict: If another server holds it.
            Unavailable: If it cannot be written.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._holder = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                "the folder of jobs cannot be written", where=f"{path}: {error.strerror}"
            ) from None
        try:
            fcntl.flock(self._holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._holder)
            raise Conflict("another server runs the jobs of this folder", where=str(path)) from None
        for left in path.glob("*.new"):
            left.unlink()

    def close(self) -> None:
        """Let another server hold the folder."""
        os.close(self._holder)

    def waiting(self) -> Iterator[Job]:
        """Yield the jobs that have no end, oldest first."""
        for name in sorted(path.stem for path in self.path.glob(f"*{_JOB}")):
            if not (self.path / (name + _END)).exists():
                yield self._read(name + _JOB, Job)[0]
            elif not self._read(name + _END, Outcome)[0].put:
                self.settle(name)  # it was about to be

    def owed(self) -> list[str]:
        """Return the jobs whose answers are yet to be put somewhere, oldest first."""
        left = {path.stem for path in self.path.glob(f"*{_JOB}")}
        ended = {path.stem for path in self.path.glob(f"*{_END}")}
        return [name for name in sorted(left & ended) if self._read(name + _END, Outcome)[0].put]

    def ended(self) -> Iterator[Outcome]:
        """Yield how the others ended, oldest first."""
        for name in sorted(path.name for path in self.path.glob(f"*{_END}")):
            yield self._read(name, Outcome)[0]

    def keep(self, job: Job, body: bytes) -> None:
        """Keep a request; when this returns it survives a power cut.

        Raises:
            Unavailable: If the disk is full.
        """
        self._write(job.id + _JOB, _encode(job), body)

    def job(self, name: str) -> tuple[Job, bytes]:
        """Return a request that was kept."""
        return self._read(name + _JOB, Job, whole=True)

    def end(self, outcome: Outcome, body: bytes = b"") -> None:
        """Keep how a job ended, once and for all.

        Raises:
            Unavailable: If the disk is full.
        """
        self._write(outcome.id + _END, _encode(outcome), body)

    def outcome(self, name: str) -> tuple[Outcome, bytes]:
        """Return how a job ended, and its answer."""
        return self._read(name + _END, Outcome, whole=True)

    def settle(self, name: str) -> None:
        """Delete the request of a job that ended."""
        (self.path / (name + _JOB)).unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Delete how a job ended."""
        (self.path / (name + _END)).unlink(missing_ok=True)

    def _read(self, name: str, kind: type[T], *, whole: bool = False) -> tuple[T, bytes]:
        """Return what a file says first, and with `whole` what is behind that."""
        try:
            with (self.path / name).open("rb") as file:
                (size,) = _SIZE.unpack(file.read(_SIZE.size))
                head = msgspec.msgpack.decode(file.read(size), type=kind)
                return head, file.read() if whole else b""
        except FileNotFoundError:
            raise NotFound(f"there is no job {Path(name).stem!r}") from None

    def _write(self, name: str, head: bytes, body: bytes) -> None:
        path, aside = self.path / name, self.path / (name + ".new")
        try:
            with aside.open("wb") as file:
                file.write(_SIZE.pack(len(head)) + head)
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
            sync_folder(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise Unavailable(
                "the job cannot be kept",
                where=f"{self.path}: {error.strerror}",
                hint="free disk space, then send it again",
            ) from None
