"""OCI image layouts: read as a base, written as a folder or as one tar file."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.packaging.entities import INDEX, MANIFEST, REF_NAME, Descriptor, Image
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
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for each in image.layers:
        path = blob_path(folder / "blobs", each.digest)
        if not path.exists():
            _whole(path, lambda aside, source=each.path: shutil.copyfile(source, aside))
    for blob in (image.config, image.manifest):
        path = blob_path(folder / "blobs", blob.descriptor.digest)
        _whole(path, lambda aside, data=blob.data: aside.write_bytes(data))
    _whole(folder / "oci-layout", lambda aside: aside.write_bytes(_LAYOUT))
    wanted = list(tags)
    there = _index(folder) if (folder / "index.json").is_file() else []
    others = [each for each in there if not any(_named(each, tag) for tag in wanted)]
    index = _index_of([*others, *_tagged(image, wanted)])
    _whole(folder / "index.json", lambda aside: aside.write_bytes(index))


def write_archive(path: Path, image: Image, tags: Iterable[str]) -> None:
    """Write an image as one tar file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(aside: Path) -> None:
        with tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as tar:
            small = {blob_name(b.descriptor.digest): b.data for b in (image.config, image.manifest)}
            large = {blob_name(each.digest): each.path for each in image.layers}
            for folder in ("blobs", "blobs/sha256"):
                info = tarfile.TarInfo(folder)
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            for name in sorted(small.keys() | large.keys()):
                if name in small:
                    _add(tar, name, small[name])
                else:
                    with large[name].open("rb") as file:
                        info = tarfile.TarInfo(name)
                        info.size = large[name].stat().st_size
                        tar.addfile(info, file)
            _add(tar, "index.json", _index_of(_tagged(image, list(tags))))
            _add(tar, "oci-layout", _LAYOUT)

    _whole(path, write)


def blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _whole(path: Path, write: Any) -> None:
    """Have `write` write a file aside, and give it its name when it is whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(aside)
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


MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
