"""Where layers lie while an image is built; those that many images share stay there."""

import hashlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from setpoint.errors import Unavailable
from setpoint.packaging import bytecode, trees
from setpoint.packaging.entities import Layer
from setpoint.packaging.trees import Tree, layer

#: The rules by which a layer is written: others write another one of the same.
_RULES = [
    sys.version.split()[0],
    *(inspect.getsource(each) for each in (bytecode, trees)),
]


class Kept(Struct, frozen=True):
    """What is remembered of a layer that is kept."""

    digest: str
    diff_id: str
    size: int


class Workshop:
    """A folder of the home for layers that stay, and one for this build's own."""

    def __init__(self, kept: Path, own: Path) -> None:
        self._kept = kept
        self._own = own

    @property
    def blobs(self) -> Path:
        """Where blobs of others lie, by digest."""
        return self._kept / "blobs"

    def make(self, tree: Tree) -> Layer:
        """Make a layer that is gone with this build."""
        return layer(tree, self._own)

    def keep(self, made_of: list[str], tree: Callable[[], Tree]) -> Layer:
        """Return the layer made of the same as before, or make it and keep it.

        Args:
            made_of: All that decides what is in the layer, the rules of its maker included.
            tree: Brings its files together; called only if the layer is new.
        """
        key = hashlib.sha256("\n".join([*_RULES, *made_of]).encode()).hexdigest()
        note = self._kept / "layers" / f"{key}.json"
        found = self._found(note)
        if found is None:
            found = layer(tree(), self.blobs)
            note.parent.mkdir(parents=True, exist_ok=True)
            said = Kept(found.digest, found.diff_id, found.size)
            aside = note.with_suffix(f".{os.getpid()}")
            aside.write_bytes(msgspec.json.encode(said))
            aside.rename(note)
        return found

    def _found(self, note: Path) -> Layer | None:
        try:
            kept = msgspec.json.decode(note.read_bytes(), type=Kept)
            path = blob_path(self.blobs, kept.digest)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, msgspec.MsgspecError):
            return None
        if kept.digest != f"sha256:{found}":  # damaged: made anew
            return None
        return Layer(digest=kept.digest, diff_id=kept.diff_id, size=kept.size, path=path)


@contextmanager
def workshop(home: Path) -> Iterator[Workshop]:
    """Open the workshop of a home.

    Raises:
        Unavailable: If its folder cannot be written.
    """
    kept = home / "images"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(dir=kept, prefix=".build-")
    except OSError as error:
        raise Unavailable(
            "cannot write to the folder where layers are kept",
            where=f"{kept}: {error.strerror}",
            hint="free disk space, or choose another folder with --home DIR",
        ) from None
    with own as folder:
        yield Workshop(kept, Path(folder))


def blob_path(blobs: Path, digest: str) -> Path:
    """Return where a blob lies below a folder of blobs, as in an OCI layout."""
    algorithm, _, name = digest.partition(":")
    return blobs / algorithm / name
