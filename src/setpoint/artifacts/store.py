"""Content-addressed objects: what is stored under a name can only ever be those bytes."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

from blake3 import blake3

from setpoint.config import Settings
from setpoint.errors import Invalid, NotFound, Unavailable

PREFIX = "b3:"
CHUNK = 1 << 20  #: bytes held in memory while an object is read or written in pieces


class Incoming(Protocol):
    """An object that arrives in pieces. Without `commit` nothing of it is kept."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""

    def commit(self, expected: str | None = None) -> tuple[str, int]:
        """Keep the object durably; return its address and its size in bytes.

        Raises:
            Invalid: If its address is not the `expected` one: the bytes changed on their way.
        """


class ObjectStore(Protocol):
    """What a place for artifacts must do. Addresses are ``b3:`` + 64 hex digits of BLAKE3."""

    def put(self, data: bytes) -> str:
        """Store `data` durably and return its address; storing it again changes nothing."""

    def get(self, address: str) -> bytes:
        """Return the bytes, verified against their address."""

    def incoming(self) -> Incoming:
        """Begin an object that is too large to hold in memory."""

    def chunks(self, address: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop` in pieces of 1 MB at most.

        Read whole, they are verified: the last piece is not given if they are corrupt.
        """

    def size(self, address: str) -> int:
        """Return how many bytes the object has."""

    def has(self, address: str) -> bool:
        """Tell whether the object is there (its content is not verified)."""

    def stored_at(self, address: str) -> float:
        """Return when the object was last put, in Unix seconds; 0 if it is not there."""

    def delete(self, address: str) -> None:
        """Remove the object; removing what is not there changes nothing."""

    def addresses(self) -> Iterator[str]:
        """Yield every address, in no particular order."""


class FileStore:
    """Objects as plain files: written aside, fsynced, renamed, and the folder fsynced."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        address = address_of(data)
        try:
            os.utime(self.path(address))  # wanted anew: who collects garbage spares it
        except OSError:
            with self.incoming() as file:
                file.write(data)
                file.commit()
        return address

    def get(self, address: str) -> bytes:
        return b"".join(self.chunks(address))

    def incoming(self) -> "FileIncoming":
        return FileIncoming(self, self._root)

    def chunks(self, address: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        size = self.size(address)
        end = size if stop is None else min(stop, size)
        digest = blake3() if (start, end) == (0, size) else None
        with self.path(address).open("rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(CHUNK, end - start))):
                start += len(piece)
                if digest is not None:
                    digest.update(piece)
                    if start == end:
                        self._verify(address, digest.hexdigest())
                yield piece
        if digest is not None:  # nothing was read, or the file became shorter meanwhile
            self._verify(address, digest.hexdigest())

    def size(self, address: str) -> int:
        try:
            return self.path(address).stat().st_size
        except FileNotFoundError:
            raise NotFound(
                f"artifact {address} is missing",
                where=str(self._root),
                hint="restore it from a backup",
            ) from None

    def _verify(self, address: str, digest: str) -> None:
        if PREFIX + digest != address:
            raise Invalid(
                f"artifact {address} is corrupt: its bytes no longer match its name",
                where=str(self.path(address)),
                hint="restore it from a backup",
            )

    def has(self, address: str) -> bool:
        return self.path(address).exists()

    def stored_at(self, address: str) -> float:
        try:
            return self.path(address).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def delete(self, address: str) -> None:
        self.path(address).unlink(missing_ok=True)

    def addresses(self) -> Iterator[str]:
        for file in self._root.glob("??/*"):
            if not file.name.startswith("."):
                yield f"{PREFIX}{file.parent.name}{file.name}"

    def path(self, address: str) -> Path:
        """Return where the object lies, for readers that map files into memory."""
        digest = address.removeprefix(PREFIX)
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise Invalid(f"{address!r} is no artifact address", hint="b3: and 64 hex digits")
        return self._root / digest[:2] / digest[2:]


class FileIncoming:
    """A file beside the objects, until it is whole and has its name."""

    def __init__(self, store: FileStore, root: Path) -> None:
        self._store = store
        self._root = root
        self._digest = blake3()
        self._size = 0
        with self._telling():
            root.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=root, prefix=".put-")
        self._temporary = Path(name)
        self._file = os.fdopen(handle, "wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        with self._telling():
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        self._digest.update(data)
        self._size += len(data)

    def commit(self, expected: str | None = None) -> tuple[str, int]:
        address = PREFIX + self._digest.hexdigest()
        if expected is not None and expected != address:
            raise Invalid(
                f"the bytes that arrived are not those of {expected}",
                where=f"they are those of {address}",
                hint="send them again",
            )
        path = self._store.path(address)
        if not path.exists():
            with self._telling():
                os.fsync(self._file.fileno())
                path.parent.mkdir(exist_ok=True)
                self._temporary.rename(path)
                _fsync_folder(path.parent)
        return address, self._size

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Make a full or unwritable disk an `Unavailable`."""
        try:
            yield
        except OSError as error:
            raise Unavailable(
                "cannot store an artifact",
                where=f"{self._root}: {error.strerror}",
                hint="free disk space or choose another folder with --home DIR",
            ) from None


def open_store(settings: Settings) -> FileStore:
    """Return the artifact store of these settings."""
    return FileStore(settings.objects)


def address_of(data: bytes) -> str:
    """Return the address that `data` has in every store."""
    return PREFIX + blake3(data).hexdigest()


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
