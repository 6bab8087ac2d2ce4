"""OCI image layouts: read as a base, written as a folder or as one tar file."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.packaging.entities import INDEX, REF_NAME, Descriptor, Image
from setpoint.packaging.workshop import blob_path

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Layout:
    """A layout somebody has, as a place to get blobs from."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            NotFound: If there is none.
        """
        if not (folder / "oci-layout").is_file():
            raise NotFound(
                f"there is no OCI image layout in {folder}",
                hint="a layout is a folder with a file oci-layout, as skopeo copy writes it",
            )
        self._folder = folder

    def manifest(self, tag: str) -> Descriptor:
        """Return what the index names: under a tag, or the only one.

        Raises:
            NotFound: If there is none of that name.
            Invalid: If there are several and no tag says which.
        """
        found = _index(self._folder)
        named = [each for each in found if not tag or _named(each, tag)]
        if len(named) == 1:
            return named[0]
        tags = ", ".join(sorted((each.annotations or {}).get(REF_NAME, "-") for each in found))
        if not named:
            raise NotFound(f"no image {tag!r} in {self._folder}", hint=f"there are: {tags}")
        raise Invalid(
            f"{self._folder} has {len(named)} images", hint=f"name one: oci:PATH:TAG, of {tags}"
        )

    def read(self, descriptor: Descriptor) -> bytes:
        return self.path(descriptor).read_bytes()

    def path(self, descriptor: Descriptor) -> Path:
        """Return the file of a blob.

        Raises:
            NotFound: If it is not there.
        """
        path = blob_path(self._folder / "blobs", descriptor.digest)
        if not path.is_file():
            raise NotFound(f"the image in {self._folder} lacks {descriptor.digest}")
        return path


def write_folder(folder: Path, image: Image, tags: Iterable[str]) -> None:
    """Write an image into a layout; other images that are there stay, those with its tags go.

    Raises:
        Conflict: If the folder has something else in it.
    """
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder} is a file", hint="choose another place with --to")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "oci-layout").is_file():
        raise Conflict(
            f"{folder} has something else in it than images", hint="choose another with --to"
        )
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    for each in image.layers:
        path = blob_path(folder / "blobs", each.digest)
        if not path.exists():
            with _whole(path) as aside:
                shutil.copyfile(each.path, aside)
    small = {
        blob_path(folder / "blobs", blob.descriptor.digest): blob.data
        for blob in (image.config, image.manifest)
    }
    for path, data in {**small, folder / "oci-layout": _LAYOUT}.items():
        with _whole(path) as aside:
            aside.write_bytes(data)
    wanted = list(tags)
    there = _index(folder) if (folder / "index.json").is_file() else []
    others = [each for each in there if not any(_named(each, tag) for tag in wanted)]
    with _whole(folder / "index.json") as aside:
        aside.write_bytes(_index_of([*others, *_tagged(image, wanted)]))


def write_archive(path: Path, image: Image, tags: Iterable[str]) -> None:
    """Write an image as one tar file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = {_name(blob.descriptor.digest): blob.data for blob in (image.config, image.manifest)}
    large = {_name(each.digest): each.path for each in image.layers}
    with _whole(path) as aside, tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder in ("blobs", "blobs/sha256"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name in sorted({*small, *large}):
            if name in small:
                _add(tar, name, small[name])
            else:
                with large[name].open("rb") as file:
                    info = tarfile.TarInfo(name)
                    info.size = large[name].stat().st_size
                    tar.addfile(info, file)
        _add(tar, "index.json", _index_of(_tagged(image, list(tags))))
        _add(tar, "oci-layout", _LAYOUT)


def _name(digest: str) -> str:
    """Return what a blob is called inside of an archive."""
    return f"blobs/{digest.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file aside; it gets its name when it is whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


def _tagged(image: Image, tags: list[str]) -> list[Descriptor]:
    of = image.manifest.descriptor
    return [
        Descriptor(
            media_type=of.media_type,
            digest=of.digest,
            size=of.size,
            annotations={REF_NAME: tag},
        )
        for tag in tags
    ]


def _index_of(manifests: list[Descriptor]) -> bytes:
    said = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    return msgspec.json.encode(said, order="deterministic")


def _index(folder: Path) -> list[Descriptor]:
    try:
        said = msgspec.json.decode((folder / "index.json").read_bytes())
        return msgspec.convert(said["manifests"], list[Descriptor])
    except (OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise Invalid(
            "the index of an OCI image layout cannot be read", where=f"{folder}/index.json: {error}"
        ) from None


def _named(descriptor: Descriptor, tag: str) -> bool:
    return (descriptor.annotations or {}).get(REF_NAME) == tag
