"""A package: one version in a folder, with all that serving it takes; no store, no database.

``package.json`` says what it is, ``objects/`` has its files by content address, as a store's
folder has them. An image contains one.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.artifacts.contract import ObjectStore, key_of
from setpoint.artifacts.files import FileStore
from setpoint.errors import Invalid, NotFound
from setpoint.models import runtime
from setpoint.models.entities import ModelVersion, Stored
from setpoint.models.explaining import background
from setpoint.models.explaining.explainer import Explainer, explainer
from setpoint.serve.entities import (
    Deployment,
    Described,
    EndpointSettings,
    Names,
    Role,
    Wanted,
)
from setpoint.serve.protocols import Due, Predictor

MANIFEST = "package.json"
OBJECTS = "objects"
FORMAT = 1

_HINT = "setpoint build writes packages"


class Manifest(Struct, frozen=True, kw_only=True):
    """What a package says of itself."""

    format: int = FORMAT  #: greater ones are those of later servers
    model: str  #: the name of its endpoint
    number: int  #: of the version, as the registry it came from counts
    run_id: str  #: the run that trained it
    created_at: datetime  #: when it was registered
    version: Stored  #: what answers
    baseline: Stored | None = None  #: answers when the version fails
    settings: EndpointSettings = EndpointSettings()  #: how it is to answer

    @property
    def addresses(self) -> list[str]:
        """The objects that serving needs."""
        held = [self.version, *([self.baseline] if self.baseline else [])]
        found = {address for each in held for address in each.addresses}
        also = (self.version.background, self.settings.fallback_code)
        return sorted(found | {each for each in also if each})


class Package:
    """A folder as a source of a server: one version, live, for good."""

    def __init__(self, folder: Path) -> None:
        """Read what a package says of itself; its objects are read when they are loaded.

        Raises:
            NotFound: If the folder is no package.
            Invalid: If its manifest cannot be understood.
        """
        self.manifest = _read(folder / MANIFEST)
        self._objects = folder / OBJECTS

    def deployed(self, due: Due) -> tuple[dict[str, int], dict[str, Wanted]]:
        model = self.manifest.model
        only = Deployment(model=model, version=self.manifest.number, role=Role.LIVE, weight=1.0)
        wanted = Wanted(deployments=[only], settings=self.manifest.settings)
        return {model: 1}, dict.fromkeys(due({model: 1}), wanted)

    def loader(self, model: str, version: int) -> Callable[[], Predictor]:  # noqa: ARG002 - one
        return partial(_load, self._objects, self.manifest.version)

    def baseline(self, model: str, version: int) -> Predictor | None:  # noqa: ARG002
        held = self.manifest.baseline
        return None if held is None else _load(self._objects, held)

    def background(self, model: str, version: int) -> Any:  # noqa: ARG002 - one
        held = self.manifest.version
        if held.background is None:
            return None
        return background.decode(FileStore(self._objects).get(held.background), held.signature)

    def described(self, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Described]:
        known = self.manifest.model, self.manifest.number
        one = Described(signature=self.manifest.version.signature, size=self.manifest.version.size)
        return {known: one} if known in versions else {}

    def names(self, policies: Mapping[str, str]) -> dict[str, Names]:  # noqa: ARG002
        return {}  # there is one version

    def kept(self, address: str) -> bytes:
        return FileStore(self._objects).get(address)

    def explainer(self, model: str, version: int, predictor: Predictor) -> Explainer:  # noqa: ARG002
        return explainer(FileStore(self._objects), self.manifest.version, predictor.predict)


def _load(objects: Path, held: Stored) -> Predictor:
    return runtime.load(FileStore(objects), held)


def manifest_of(
    version: ModelVersion,
    settings: EndpointSettings = EndpointSettings(),  # noqa: B008 - frozen
) -> Manifest:
    """Return what a package of a registered version says, for an endpoint with `settings`."""
    return Manifest(
        model=version.model,
        number=version.number,
        run_id=version.run_id,
        created_at=version.created_at,
        version=version.stored,
        baseline=version.baseline,
        settings=settings,
    )


def files(manifest: Manifest, store: ObjectStore) -> Mapping[str, bytes]:
    """Return the files of a package by path, the objects from `store`.

    Raises:
        NotFound: If an object is missing there.
        Invalid: If one is corrupt.
    """
    said = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"))
    held = {f"{OBJECTS}/{key_of(each)}": store.get(each) for each in manifest.addresses}
    return {MANIFEST: said + b"\n", **held}


def _read(path: Path) -> Manifest:
    try:
        said = path.read_bytes()
    except OSError as error:
        raise NotFound(
            f"there is no package in {path.parent}", where=error.strerror or "", hint=_HINT
        ) from None
    try:
        version = msgspec.json.decode(said, type=_Version).format
        if version > FORMAT:
            raise Invalid(
                f"the package has format {version}, this server reads up to {FORMAT}",
                where=str(path),
                hint="serve it with the Setpoint that wrote it, or a later one",
            )
        return msgspec.json.decode(said, type=Manifest)
    except msgspec.MsgspecError as error:
        raise Invalid(
            f"the manifest of the package cannot be read: {error}", where=str(path), hint=_HINT
        ) from None


class _Version(Struct):
    format: int
