"""A version as an image: base, dependencies, server and model, a layer each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from setpoint import __version__
from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Conflict, Invalid
from setpoint.models.entities import ModelVersion
from setpoint.packaging import dependencies, sbom
from setpoint.packaging.bases import architecture
from setpoint.packaging.bytecode import compile_all
from setpoint.packaging.entities import CONFIG, MANIFEST, PACKAGES, Base, Blob, Image, Layer, Told
from setpoint.packaging.extras import environment, ports
from setpoint.packaging.registry import descriptor_of
from setpoint.packaging.trees import Tree
from setpoint.packaging.workshop import Workshop
from setpoint.serve import package
from setpoint.serve.entities import EndpointSettings

PORT = 8080  #: what KServe, SageMaker and most others send requests to
USER = "65532:65532"  #: nobody in particular, as in distroless images

_SERVER, _MODEL = "opt/setpoint/server", "model"
_SBOM = "opt/setpoint/sbom.cdx.json"


class Layers(Struct, frozen=True):
    """The layers above the base."""

    dependencies: Layer
    server: Layer
    model: Layer


class Assembled(Struct, frozen=True):
    """An image, and its layers by what they are for."""

    image: Image
    layers: Layers


def check(version: ModelVersion) -> ModelVersion:
    """Return a version if it may leave the house to be served.

    Raises:
        Invalid: If its weights are not here.
        Conflict: If its gate did not pass and nobody overrode it.
    """
    named = f"version {version.number} of {version.model!r}"
    if not version.trained_here:
        raise Invalid(
            f"{named} was registered from elsewhere: nothing here serves it",
            where=version.source,
            hint=f"bring its files in: setpoint models add {version.model} FILE --example FILE",
        )
    if version.gate is not None and not version.may_serve:  # one brought in has none
        raise Conflict(
            f"{named} may not serve: its gate has not passed",
            hint=f"see setpoint models show {version.model} --number {version.number}; who takes "
            "the responsibility overrides the gate (models.override)",
        )
    return version


def assemble(
    version: ModelVersion,
    settings: EndpointSettings,
    store: ObjectStore,
    base: Base,
    workshop: Workshop,
    told: Told,
    extras: Sequence[str] = (),
) -> Assembled:
    """Build the image of a version. Of the same inputs it is the same image, to the bit.

    Its endpoint answers as `settings` say; `extras` are what its server speaks besides.

    Raises:
        NotFound: If the model's bytes are missing.
        Invalid: If they, or an installed package, are not as they were.
        MissingExtra: If a package that serving needs is not installed here.
    """
    manifest = package.manifest_of(version, settings)
    files = package.files(manifest, store)
    need = needed(manifest, store, extras)
    parts = [*base.components, *dependencies.components(need.distributions)]
    bill = sbom.bill(manifest, parts)

    def gathered() -> Tree:
        told(f"packing {len(need.distributions)} packages")
        return dependencies.tree_of(need.distributions, PACKAGES)

    layers = Layers(
        dependencies=workshop.keep(need.made_of, gathered),
        server=workshop.make(_server(need.server)),
        model=workshop.make(_model(files, bill)),
    )
    labels = _labels(version, base)
    config = _config(base, layers, labels, version.created_at, extras)
    above = [layers.dependencies, layers.server, layers.model]
    said = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor,
        "layers": [each.descriptor for each in (*base.layers, *above)],
        "annotations": labels,
    }
    mounts = {each.digest: base.mounts for each in base.layers} if base.mounts else {}
    return Assembled(
        Image(
            manifest=_blob(MANIFEST, said),
            config=config,
            layers=[*base.layers, *above],
            sbom=bill,
            mounts=mounts,
        ),
        layers,
    )


def needed(
    manifest: package.Manifest, store: ObjectStore, extras: Sequence[str] = ()
) -> dependencies.Needed:
    """Return what serving a package needs, of whatever it is made.

    Raises:
        NotFound: If bytes of a model or function are missing.
        MissingExtra: If a package that they need is not installed here.
    """
    whole = [manifest.version, *([manifest.baseline] if manifest.baseline else [])]
    held = [each for one in whole for each in one.models]
    natives = {each.artifact: store.get(each.artifact) for each in held if each.onnx is None}
    code = [*manifest.version.functions, *filter(None, [manifest.settings.fallback_code])]
    graph = bool(manifest.version.parts)
    functions = [store.get(each) for each in code]
    return dependencies.needed(held, natives, functions, graph=graph, extras=extras)


def _server(modules: dict[str, bytes]) -> Tree:
    tree = Tree()
    for path, source in modules.items():
        tree.file(f"{_SERVER}/{path}", source)
    compile_all(tree)
    return tree


def _model(files: Mapping[str, bytes], bill: Blob) -> Tree:
    tree = Tree()
    for path, data in files.items():
        tree.file(f"{_MODEL}/{path}", data)
    tree.file(_SBOM, bill.data)
    return tree


def _labels(version: ModelVersion, base: Base) -> dict[str, str]:
    labels = {
        "org.opencontainers.image.title": version.model,
        "org.opencontainers.image.version": str(version.number),
        "org.opencontainers.image.created": _rfc3339(version.created_at),
        "org.opencontainers.image.description": f"{version.model} version {version.number}, "
        "served by Setpoint (Open Inference Protocol)",
        "setpoint.model": version.model,
        "setpoint.version": str(version.number),
        "setpoint.run": version.run_id,
        "setpoint.model.digest": version.onnx or version.artifact,
        "setpoint.server": __version__,
    }
    if base.digest:
        labels["org.opencontainers.image.base.digest"] = base.digest
    if base.reference:
        labels["org.opencontainers.image.base.name"] = base.reference
    return dict(sorted(labels.items()))


def _config(
    base: Base, layers: Layers, labels: dict[str, str], created: datetime, extras: Sequence[str]
) -> Blob:
    at = _rfc3339(created)
    above = [
        (layers.dependencies, "setpoint build: dependencies"),
        (layers.server, "setpoint build: server"),
        (layers.model, "setpoint build: model"),
    ]
    told = [{"created": at, "created_by": said} for _, said in above]
    said = {
        "created": at,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": USER,
            "ExposedPorts": {f"{each}/tcp": {} for each in (PORT, *ports(extras))},
            "Env": _environment(base.env, extras),
            "Entrypoint": [
                base.python,
                "-m",
                "setpoint.serve",
                "--package",
                f"/{_MODEL}",
                "--allow-any-host",
            ],
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "Labels": labels,
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [each.diff_id for each in (*base.layers, *(one for one, _ in above))],
        },
        "history": [*base.history, *told],
    }
    return _blob(CONFIG, said)


def _environment(base: list[str], extras: Sequence[str]) -> list[str]:
    ours = {
        "PYTHONPATH": f"/{_SERVER}:/{PACKAGES}",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "SETPOINT_SERVE_HOST": "0.0.0.0",  # noqa: S104 - a container's only way to be reached
        "SETPOINT_SERVE_PORT": str(PORT),
    }
    kept = [each for each in base if each.partition("=")[0] not in ours]
    said = {each.partition("=")[0] for each in kept}
    ours |= {name: value for name, value in environment(extras).items() if name not in said}
    return [*kept, *(f"{name}={value}" for name, value in ours.items())]


def _blob(media_type: str, said: Any) -> Blob:
    data = msgspec.json.encode(said, order="deterministic")
    return Blob(descriptor=descriptor_of(media_type, data), data=data)


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
