"""Content-addressed objects: what is stored under a name can only ever be those bytes."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from setpoint.config import Settings
from setpoint.errors import Invalid, NotFound, Unavailable

PREFIX = "b3:"


class ObjectStore(Protocol):
    """What a place for artifacts must do. Addresses are ``b3:`` + 64 hex digits of BLAKE3."""

    def put(self, data: bytes) -> str:
        """Store `data` durably and return its address; storing it again changes nothing."""

    def get(self, address: str) -> bytes:
        """Return the bytes, verified against their address."""

    def has(self, address: str) -> bool:
        """Tell whether the object is there (its content is not verified)."""

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
        path = self.path(address)
        if path.exists():
            return address
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".put-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).rename(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _fsync_folder(path.parent)
        except OSError as error:
            raise Unavailable(
                f"cannot store an artifact of {len(data):,} bytes",
                where=f"{self._root}: {error.strerror}",
                hint="free disk space or choose another folder with --home DIR",
            ) from None
        return address

    def get(self, address: str) -> bytes:
        try:
            data = self.path(address).read_bytes()
        except FileNotFoundError:
            raise NotFound(
                f"artifact {address} is missing",
                where=str(self._root),
                hint="restore it from a backup",
            ) from None
        if address_of(data) != address:
            raise Invalid(
                f"artifact {address} is corrupt: its bytes no longer match its name",
                where=str(self.path(address)),
                hint="restore it from a backup",
            )
        return data

    def has(self, address: str) -> bool:
        return self.path(address).exists()

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
