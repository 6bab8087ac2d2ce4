"""The folder of one run's log: who writes, who delivers, and how far.

::

    .setpoint/spool/RUN/
        run.json        which run it is, and where it is to be delivered
        WRITER/         one folder a writing process, held by a lock while it lives
            00000001.seg
        objects/        artifacts on their way to a server
        delivered.json  how far each writer's log has been delivered
        deliver.lock    held by whoever delivers: one at a time

Writers never wait for each other. Whoever gets the delivery lock delivers the logs of all
writers, dead ones too.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from blake3 import blake3
from msgspec import Struct, field

from setpoint.artifacts.files import FileStore
from setpoint.core.ids import new_id
from setpoint.sdk.spool import Spool
from setpoint.serve import frames

SPOOL = "spool"
_LONGEST = 120  #: characters of a folder's name that are the run's id
_json = msgspec.json.Encoder(order="sorted")


class Meta(Struct, frozen=True, kw_only=True):
    """Which run a folder belongs to."""

    run: str
    experiment: str
    url: str | None = None  #: the server it goes to; None: the store of this home
    offline: bool = False  #: whether it waits for `setpoint sync`


class Place(Struct, frozen=True, order=True):
    """After which byte of a writer's log; compares in the order of writing."""

    segment: int = 1
    offset: int = 0

    @property
    def number(self) -> int:
        """The place as one integer that grows."""
        return self.segment << 40 | self.offset


class Mark(Struct, frozen=True, kw_only=True):
    """How far one writer's log has been delivered."""

    done: Place = Place()
    sent: Place | None = None  #: end of a batch that was sent and not yet known to have arrived


class Marks(Struct, frozen=True, kw_only=True):
    """How far all of a run's logs have been delivered."""

    writers: dict[str, Mark] = field(default_factory=dict)
    open: bool = False  #: whether what was delivered begins the run without ending it


class RunFolder:
    """One run's folder below a home."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, home: Path, run: str) -> "RunFolder":
        name = run
        if len(run) > _LONGEST:
            name = f"{run[: _LONGEST - 33]}-{blake3(run.encode()).hexdigest(16)}"
        return cls(home / SPOOL / name.replace(":", "="))

    @classmethod
    def all(cls, home: Path) -> list["RunFolder"]:
        """Return the folders below a home that still hold something, oldest run first."""
        return [cls(file.parent) for file in sorted((home / SPOOL).glob("*/run.json"))]

    @property
    def objects(self) -> FileStore:
        return FileStore(self.path / "objects")

    def meta(self) -> Meta:
        return msgspec.json.decode((self.path / "run.json").read_bytes(), type=Meta)

    def join(self, meta: Meta) -> Spool:
        """Begin a log of this process's own in the folder, which is made if need be.

        Raises:
            OSError: If the folder cannot be written at all.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._exclusively():
            self.path.mkdir(exist_ok=True)
            if not (self.path / "run.json").exists():
                _replace(self.path / "run.json", _json.encode(meta))
            return Spool(self.path / new_id("w"))  # later ones sort after it

    def writers(self) -> list[str]:
        return sorted(path.name for path in self.path.glob("w_*") if path.is_dir())

    def alive(self, writer: str) -> bool:
        """Tell whether the process that writes there still lives."""
        try:
            file = os.open(self.path / writer / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    @contextmanager
    def delivering(self) -> Iterator[bool]:
        """Hold the right to deliver; gives False if another process has it."""
        try:
            file = os.open(self.path / "deliver.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # delivered and removed by another meanwhile
            yield False
            return
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(file)

    def marks(self) -> Marks:
        try:
            text = (self.path / "delivered.json").read_bytes()
        except FileNotFoundError:
            return Marks()
        return msgspec.json.decode(text, type=Marks)

    def mark(self, marks: Marks) -> None:
        """Record how far delivery has come. Need not be synced: delivering is idempotent."""
        _replace(self.path / "delivered.json", _json.encode(marks))

    def trim(self, writer: str, before: int) -> None:
        """Delete a writer's segments below a number: all of them has been delivered."""
        for number in frames.segments(self.path / writer):
            if number < before:
                frames.segment_path(self.path / writer, number).unlink(missing_ok=True)

    def remove(self) -> bool:
        """Delete everything, unless somebody writes there; tell whether it is gone.

        Call it while holding the right to deliver, when everything has been. It goes at once,
        under another name: who looks for that right meanwhile would put its lock back.
        """
        aside = self.path.with_name(new_id("gone"))
        with self._exclusively():
            if any(self.alive(writer) for writer in self.writers()):
                return False
            self.path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        return True

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Hold all folders of the home against joining and removing."""
        file = os.open(self.path.parent / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_bytes(content)
    aside.rename(path)
