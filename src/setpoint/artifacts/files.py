"""Artifacts as files of this machine."""

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from blake3 import blake3

from setpoint.artifacts import contract
from setpoint.artifacts.contract import CHUNK, PREFIX, Found, ObjectStore
from setpoint.errors import Unavailable

_AHEAD = 32 * CHUNK  #: bytes after which the disk is sent to work while more arrive


class FileStore(ObjectStore):
    """Objects as plain files: written aside, fsynced, renamed, and the folder fsynced."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def put(self, data: bytes) -> str:
        address = contract.address_of(data)
        return address if _touched(self.path(address)) else super().put(data)

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

    def find(self, addresses: Iterable[str]) -> dict[str, Found]:
        found = {}
        for address in addresses:
            try:
                stat = self.path(address).stat()
            except FileNotFoundError:
                continue
            found[address] = Found(stat.st_size, stat.st_mtime)
        return found

    def delete(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            self.path(address).unlink(missing_ok=True)

    def addresses(self) -> Iterator[str]:
        for file in self._root.glob("??/*"):
            address = contract.address_at(f"{file.parent.name}/{file.name}")
            if address is not None:
                yield address

    def path(self, address: str) -> Path:
        """Return where the object lies."""
        return self._root / contract.key_of(address)

    def _verify(self, address: str, digest: str) -> None:
        contract.verify(address, digest, str(self.path(address)))


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
        self._written = _Written(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes | memoryview) -> None:
        with self._telling():
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            self._written.more(len(data))
        self._digest.update(data)
        self._size += len(data)

    def commit(self, expected: str | None = None) -> tuple[str, int]:
        address = PREFIX + self._digest.hexdigest()
        contract.expect(address, expected)
        path = self._store.path(address)
        with self._telling():
            if not _touched(path):
                self._written.finish()
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


class _Written:
    """What was written to a file: on its way to the disk while more is written.

    Left to the end, all of a large file would wait for the disk when it is whole.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._new = 0  #: bytes nobody has sent to the disk
        self._thread: threading.Thread | None = None
        self._failed: OSError | None = None

    def more(self, size: int) -> None:
        """Take note of bytes; send them on if there are many and the disk is idle."""
        self._new += size
        if self._new >= _AHEAD and (self._thread is None or not self._thread.is_alive()):
            self._new = 0
            # By a handle of its own: who gives up the file waits for nobody.
            own = os.dup(self._handle)
            self._thread = threading.Thread(target=self._sync, args=[own], daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Return when all of it is on the disk.

        Raises:
            OSError: If some of it is not; the system tells of that once only.
        """
        if self._thread is not None:
            self._thread.join()
        if self._failed is not None:
            raise self._failed
        os.fsync(self._handle)

    def _sync(self, handle: int) -> None:
        try:
            os.fdatasync(handle)
        except OSError as error:
            self._failed = error
        finally:
            os.close(handle)


def _touched(path: Path) -> bool:
    """Tell whether the file is there, which then counts as put now."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
