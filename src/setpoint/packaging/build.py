"""``setpoint build``: from a version to an image where it was wanted."""

import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Conflict
from setpoint.models.entities import ModelVersion
from setpoint.packaging.bases import base_of
from setpoint.packaging.entities import Base, Built, Image, Told
from setpoint.packaging.images import Assembled, assemble, check
from setpoint.packaging.layouts import write_archive, write_folder
from setpoint.packaging.logins import Login, login_for
from setpoint.packaging.references import Archive, Destination, Folder, ImageReference
from setpoint.packaging.registry import Registry
from setpoint.packaging.workshop import workshop
from setpoint.serve.entities import EndpointSettings


class Wanted(Struct, frozen=True, kw_only=True):
    """What somebody asked to be built."""

    to: Destination
    base: ImageReference | Folder | None = None  #: None: Debian packages of this machine
    tags: Sequence[str] = ()  #: None given: the reference's own, else the version's number
    sbom: Path | None = None  #: a file for the bill of materials, besides the one inside
    login: Login | None = None  #: None: what `docker login` left
    logins: Sequence[Path] = ()  #: files where it leaves that
    settings: EndpointSettings = EndpointSettings()  #: how its endpoint answers
    extras: Sequence[str] = ()  #: of `extras.EXTRAS`: what its server speaks besides


def build(
    version: ModelVersion, store: ObjectStore, home: Path, wanted: Wanted, told: Told
) -> Built:
    """Build the image of a version and bring it where it was wanted.

    Args:
        version: What is to be served.
        store: Where its bytes are.
        home: Where layers that many images share are kept.
        wanted: Where to, on what, under which tags.
        told: Is told what is being done.

    Raises:
        SetpointError: If a part of it cannot be had, or the place cannot take it.
    """
    check(version)
    tags = _tags(wanted, version)
    with workshop(home) as shop:
        base = base_of(wanted.base, shop, wanted.login, wanted.logins, told)
        made = assemble(version, wanted.settings, store, base, shop, told, wanted.extras)
        _deliver(made.image, wanted, tags, told)
        if wanted.sbom is not None:
            wanted.sbom.write_bytes(made.image.sbom.data)
        return _built(version, made, base, wanted.to, tags)


def _tags(wanted: Wanted, version: ModelVersion) -> list[str]:
    of_reference = wanted.to.tag if isinstance(wanted.to, ImageReference) else ""
    if isinstance(wanted.to, ImageReference) and wanted.to.digest:
        raise Conflict("the digest of an image follows from what is built", hint="give a tag")
    found = [*([of_reference] if of_reference else []), *wanted.tags]
    return list(dict.fromkeys(found)) or [str(version.number)]


def _deliver(image: Image, wanted: Wanted, tags: list[str], told: Told) -> None:
    to = wanted.to
    if isinstance(to, Folder):
        told(f"writing {to.path}")
        write_folder(to.path, image, tags)
    elif isinstance(to, Archive):
        told(f"writing {to.path}")
        write_archive(to.path, image, tags)
    else:
        same_registry = isinstance(wanted.base, ImageReference) and wanted.base.host == to.host
        pushed = image if same_registry else _without_mounts(image)
        login = login_for(to.host, wanted.login, wanted.logins)
        Registry(to, login).push(pushed, tags, told)


def _without_mounts(image: Image) -> Image:
    return Image(manifest=image.manifest, config=image.config, layers=image.layers, sbom=image.sbom)


def _built(
    version: ModelVersion, made: Assembled, base: Base, to: Destination, tags: list[str]
) -> Built:
    layers = made.layers
    return Built(
        model=version.model,
        version=version.number,
        digest=made.image.digest,
        size=made.image.size,
        layers={
            "base": sum(each.size for each in base.layers),
            "dependencies": layers.dependencies.size,
            "server": layers.server.size,
            "model": layers.model.size,
        },
        to=str(to),
        tags=tags,
        base=base.name,
        python=".".join(str(part) for part in sys.version_info[:2]),
    )
