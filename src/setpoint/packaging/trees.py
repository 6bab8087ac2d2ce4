"""Files of a layer, and the layer made of them: the same files give the same bytes, always."""

import hashlib
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from msgspec import Struct

from setpoint.packaging.entities import Layer

_EPOCH = 0  #: every file's time: what was the same yesterday is the same layer today
_GZIP = 31  #: zlib's name for a gzip frame; it writes neither time nor name into its head
_LEVEL = 4  #: of zlib: half the time of its usual 6, for 3% more bytes


class Entry(Struct, frozen=True):
    """A file, a link or a folder."""

    data: bytes = b""
    mode: int = 0o644
    link: str = ""  #: where a symbolic link leads
    folder: bool = False


class Tree:
    """Entries by path, relative to the root of the image."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        """Yield what the layer has, in order; folders before what is in them."""
        yield from sorted(self._with_parents().items())

    def file(self, path: str, data: bytes, *, executable: bool = False) -> None:
        self._entries[path] = Entry(data, 0o755 if executable else 0o644)

    def link(self, path: str, to: str) -> None:
        self._entries[path] = Entry(link=to, mode=0o777)

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._entries[path] = Entry(mode=mode, folder=True)

    def files(self) -> list[tuple[str, bytes]]:
        """Return path and content of every file, in order."""
        entries = sorted(self._entries.items())
        return [(path, each.data) for path, each in entries if not each.link and not each.folder]

    def _with_parents(self) -> dict[str, Entry]:
        found = dict(self._entries)
        for path in self._entries:
            for parent in PurePosixPath(path).parents:
                if str(parent) != ".":
                    found.setdefault(str(parent), Entry(mode=0o755, folder=True))
        return found


def layer(tree: Tree, into: Path) -> Layer:
    """Write a layer as ``into/sha256/HEX`` and return it.

    Owner, times and order say nothing of the machine that made it. The compressed bytes depend
    on the zlib of this Python, too; what is in them does not.
    """
    folder = into / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            out = _Gzip(file)
            pipe = cast("IO[bytes]", out)
            # PAX, as the specification has it. The writer reads nothing back: a pipe is enough.
            with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for at, entry in tree:
                    tar.addfile(_header(at, entry), io.BytesIO(entry.data))
            out.finish()
        path = folder / out.digest.hexdigest()
        aside.chmod(0o644)
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    return Layer(
        digest=f"sha256:{out.digest.hexdigest()}",
        diff_id=f"sha256:{out.inside.hexdigest()}",
        size=out.size,
        path=path,
    )


def _header(path: str, entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mtime, info.mode, info.size = _EPOCH, entry.mode, len(entry.data)
    if entry.folder:
        info.type = tarfile.DIRTYPE
    elif entry.link:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    return info


class _Gzip:
    """Compresses what is written to it, and knows the digests of both sides."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._pack = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self.digest, self.inside = hashlib.sha256(), hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.inside.update(data)
        self._keep(self._pack.compress(data))
        return len(data)

    def finish(self) -> None:
        self._keep(self._pack.flush())

    def _keep(self, packed: bytes) -> None:
        self.digest.update(packed)
        self.size += len(packed)
        self._file.write(packed)
