"""What an image is made of. Sources: OCI image specification 1.1, OCI distribution 1.1."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct, field

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
#: What is read besides, as Docker calls the same things.
MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
LAYERS = (LAYER, "application/vnd.docker.image.rootfs.diff.tar.gzip")
EMPTY = "application/vnd.oci.empty.v1+json"
CYCLONEDX = "application/vnd.cyclonedx+json"
REF_NAME = "org.opencontainers.image.ref.name"

PACKAGES = "opt/setpoint/packages"  #: where an image has others' packages

#: Told what is being done now, in a few words.
Told = Callable[[str], None]


class Descriptor(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Names a blob: what it is, which bytes, how many."""

    media_type: str
    digest: str  #: ``sha256:`` and 64 hex digits
    size: int  #: bytes
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None


class Layer(Struct, frozen=True, kw_only=True):
    """A compressed layer, as a file of this machine."""

    digest: str  #: of the compressed bytes
    diff_id: str  #: of the tar inside
    size: int  #: compressed, in bytes
    path: Path  #: where the compressed bytes are
    media_type: str = LAYER

    @property
    def descriptor(self) -> Descriptor:
        """How a manifest names it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)


class Component(Struct, frozen=True, kw_only=True):
    """Something inside an image that others made, as a bill of materials names it."""

    kind: str  #: CycloneDX's type: library, container, machine-learning-model, …
    name: str
    version: str
    purl: str = ""  #: package URL: where it comes from
    license: str = ""  #: an SPDX expression; empty: not told in a form that machines read
    hashes: dict[str, str] = {}  #: hex by CycloneDX's name of the algorithm


class Base(Struct, frozen=True, kw_only=True):
    """What an image stands on: a system with a Python."""

    name: str  #: as it was asked for
    reference: str = ""  #: what it is called in a registry; empty: it came from this machine
    digest: str = ""  #: of its manifest; empty: made here
    layers: list[Layer]
    python: str  #: path of the interpreter inside
    env: list[str] = []  #: ``NAME=value``
    history: list[dict[str, Any]] = []  #: of its layers, as its configuration tells it
    components: list[Component] = []
    mounts: str = ""  #: the repository of its registry that has the layers


class Blob(Struct, frozen=True, kw_only=True):
    """Bytes with their name: a configuration, a manifest, a bill of materials."""

    descriptor: Descriptor
    data: bytes


class Image(Struct, frozen=True, kw_only=True):
    """A built image: small blobs in memory, layers as files."""

    manifest: Blob
    config: Blob
    layers: list[Layer]
    sbom: Blob
    mounts: dict[str, str] = field(default_factory=dict)  #: digest of a layer: repository with it

    @property
    def digest(self) -> str:
        """What names the image everywhere."""
        return self.manifest.descriptor.digest

    @property
    def size(self) -> int:
        """Bytes that somebody downloads who has none of it."""
        small = self.manifest.descriptor.size + self.config.descriptor.size
        return small + sum(each.size for each in self.layers)


class Built(Struct, frozen=True, kw_only=True):
    """What `setpoint build` says at the end."""

    model: str
    version: int
    digest: str  #: of the image
    size: int  #: compressed, in bytes
    layers: dict[str, int]  #: compressed bytes of base, dependencies, server and model
    to: str  #: where it went
    tags: list[str]
    base: str
    python: str  #: version of the interpreter that the packages are for
