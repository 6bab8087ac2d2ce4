"""Files of a source: those that lie on this machine, and how they come into our store."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from setpoint.artifacts.contract import ObjectStore
from setpoint.runs.entities import Artifact
from setpoint.transfer.entities import SourceFile

_PIECE = 1 << 20


def under(folder: Path, prefix: str = "") -> Iterator[SourceFile]:
    """Yield every file below a folder, by path; links that lead out of it are left."""
    top = folder.resolve()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.resolve().is_relative_to(top):
            path = prefix + file.relative_to(folder).as_posix()
            yield SourceFile(path=path, chunks=partial(read_in_pieces, file))


def read_in_pieces(file: Path) -> Iterator[bytes]:
    """Yield a file's bytes, 1 MB at a time."""
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece


def stored(store: ObjectStore, file: SourceFile) -> Artifact:
    """Put a file of a source into our store."""
    with store.incoming() as coming:
        for piece in file.chunks():
            coming.write(piece)
        address, size = coming.commit()
    return Artifact(address=address, size=size)


def made(path: str, data: bytes) -> SourceFile:
    """Return a file of bytes that are here already."""
    return SourceFile(path=path, chunks=lambda: iter([data]))
