"""What an image stands on: somebody's image with a Python, or Debian packages of this machine."""

import platform
import re
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.packaging.debian import PYTHON, debian
from setpoint.packaging.entities import (
    INDEXES,
    LAYER,
    LAYERS,
    MANIFESTS,
    Base,
    Blob,
    Component,
    Descriptor,
    Layer,
    Told,
)
from setpoint.packaging.layouts import Layout
from setpoint.packaging.logins import Login, login_for
from setpoint.packaging.references import Folder, ImageReference
from setpoint.packaging.registry import Registry
from setpoint.packaging.workshop import Workshop

T = TypeVar("T")

#: What OCI and Docker call a machine, by what Python calls it.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}

_PLAIN = "application/vnd.oci.image.layer.v1.tar"
_INTERPRETER = re.compile(r"(?:\./)?((?:usr/|usr/local/|opt/[^/]+/)?bin/python3\.\d+)")
_MUSL = re.compile(r"(?:\./)?lib/ld-musl-")


def architecture() -> str:
    """Return this machine's architecture, which images built here are for."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def base_of(
    asked: ImageReference | Folder | None,
    workshop: Workshop,
    login: Login | None,
    files: Iterable[Path],
    told: Told,
) -> Base:
    """Return the base that was asked for, or one of this machine's Debian packages.

    Raises:
        Invalid: If it has no Python that the packages here are for, or is for other machines.
        NotFound: If there is no such image.
        Unavailable: If its registry cannot be reached.
    """
    if asked is None:
        return debian(workshop, told)
    if isinstance(asked, Folder):
        layout = Layout(asked.path)
        return _opened(_OfLayout(layout, asked.tag), str(asked), "")
    told(f"pulling the base {asked}")
    registry = Registry(asked, login_for(asked.host, login, files))
    found = _opened(_OfRegistry(registry, asked.which, workshop.blobs), str(asked), str(asked))
    return msgspec.structs.replace(found, mounts=asked.name)


class _Manifest(Struct):
    """Of a manifest, what a base is made of."""

    config: Descriptor
    layers: list[Descriptor]


class _Files(Struct):
    diff_ids: list[str]


class _Inside(Struct, rename="pascal"):
    env: list[str] | None = None


class _Config(Struct):
    """Of a configuration, what goes into the image that stands on it."""

    architecture: str
    rootfs: _Files
    config: _Inside | None = None
    history: list[dict[str, Any]] | None = None


class _Platform(Struct):
    os: str
    architecture: str


class _Listed(Descriptor, frozen=True, kw_only=True):
    platform: _Platform | None = None


class _Index(Struct):
    manifests: list[_Listed]


class _Image(Protocol):
    """An image somewhere, to be read."""

    def top(self) -> Blob: ...

    def small(self, descriptor: Descriptor) -> bytes: ...

    def file(self, descriptor: Descriptor) -> Path: ...


class _OfLayout:
    def __init__(self, layout: Layout, tag: str) -> None:
        self._layout = layout
        self._tag = tag

    def top(self) -> Blob:
        found = self._layout.manifest(self._tag)
        return Blob(descriptor=found, data=self._layout.read(found))

    def small(self, descriptor: Descriptor) -> bytes:
        return self._layout.read(descriptor)

    def file(self, descriptor: Descriptor) -> Path:
        return self._layout.path(descriptor)


class _OfRegistry:
    def __init__(self, registry: Registry, which: str, blobs: Path) -> None:
        self._registry = registry
        self._which = which
        self._blobs = blobs

    def top(self) -> Blob:
        return self._registry.manifest(self._which)

    def small(self, descriptor: Descriptor) -> bytes:
        if descriptor.media_type in (*MANIFESTS, *INDEXES):
            return self._registry.manifest(descriptor.digest).data
        return self.file(descriptor).read_bytes()

    def file(self, descriptor: Descriptor) -> Path:
        return self._registry.pull(descriptor, self._blobs)


def _opened(image: _Image, name: str, reference: str) -> Base:
    """Return a base; `name` is for people, and not in what is built: a folder may be anywhere."""
    top = image.top()
    manifest = _for_this_machine(image, top, name)
    said = _read(manifest.data, _Manifest, name)
    config = _read(image.small(said.config), _Config, name)
    if config.architecture != architecture():
        raise Invalid(
            f"the base {name} is for {config.architecture}, "
            f"the packages here are for {architecture()}",
            hint="build on a machine of that kind, or give another --base",
        )
    diff_ids = config.rootfs.diff_ids
    if len(diff_ids) != len(said.layers):
        raise Invalid(f"the base {name} is no image: its layers and its configuration differ")
    layers = [
        _layer(image, each, diff_id, name)
        for each, diff_id in zip(said.layers, diff_ids, strict=True)
    ]
    digest = manifest.descriptor.digest
    hashes = {"SHA-256": digest.removeprefix("sha256:")}
    return Base(
        name=name,
        reference=reference,
        digest=digest,
        layers=layers,
        python=f"/{_interpreter(layers, name)}",
        env=(config.config.env if config.config else None) or [],
        history=_history(config.history or [], len(layers)),
        components=[
            Component(kind="container", name=reference or "base", version=digest, hashes=hashes)
        ],
    )


def _history(told: list[dict[str, Any]], layers: int) -> list[dict[str, Any]]:
    """Return what is told of as many layers as there are: readers count them."""
    if sum(not each.get("empty_layer") for each in told) == layers:
        return told
    return [{"created_by": f"layer {number} of the base"} for number in range(1, layers + 1)]


def _for_this_machine(image: _Image, top: Blob, name: str) -> Blob:
    if top.descriptor.media_type in MANIFESTS:
        return top
    if top.descriptor.media_type not in INDEXES:
        raise Invalid(f"the base {name} is no image", where=top.descriptor.media_type)
    wanted = _Platform("linux", architecture())
    for each in _read(top.data, _Index, name).manifests:
        if each.platform == wanted:
            return Blob(descriptor=each, data=image.small(each))
    raise Invalid(f"the base {name} has no image for linux/{architecture()}")


def _layer(image: _Image, descriptor: Descriptor, diff_id: str, name: str) -> Layer:
    if descriptor.media_type not in (*LAYERS, _PLAIN):
        raise Invalid(
            f"a layer of the base {name} is packed in a way that is not read here",
            where=descriptor.media_type,
            hint="copy it with gzip: skopeo copy --dest-compress-format gzip",
        )
    return Layer(
        digest=descriptor.digest,
        diff_id=diff_id,
        size=descriptor.size,
        path=image.file(descriptor),
        media_type=LAYER if descriptor.media_type in LAYERS else _PLAIN,
    )


def _interpreter(layers: list[Layer], name: str) -> str:
    """Return the path of the Python that the packages here are for.

    Raises:
        Invalid: If there is another Python only, none, or another libc.
    """
    found: set[str] = set()
    for layer in layers:
        with tarfile.open(layer.path) as tar:
            for info in tar:
                if _MUSL.match(info.name):
                    raise Invalid(
                        f"the base {name} has musl, the packages here are for glibc",
                        hint="give a base of Debian, Ubuntu, Fedora or the like",
                    )
                if (match := _INTERPRETER.fullmatch(info.name)) is not None:
                    found.add(match[1])
    fitting = sorted(each for each in found if each.endswith(f"/{PYTHON}"))
    if fitting:
        return next((each for each in fitting if "local" in each), fitting[0])
    has = ", ".join(sorted({each.rpartition("/")[2] for each in found})) or "no Python"
    raise Invalid(
        f"the base {name} has {has}, the packages here are for "
        f"Python {sys.version_info.major}.{sys.version_info.minor}",
        hint=f"give a base with {PYTHON}, or build with the base's Python",
    )


def _read(data: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise Invalid(f"the base {name} is no image", where=str(error)) from None
