"""The bill of materials of an image, CycloneDX 1.6 in JSON."""

import uuid
from typing import Any

import msgspec

from setpoint import __version__
from setpoint.packaging.entities import CYCLONEDX, Blob, Component
from setpoint.packaging.registry import descriptor_of
from setpoint.serve.package import Manifest

_PREFIX = "b3:"


def bill(manifest: Manifest, components: list[Component]) -> Blob:
    """Return the bill of an image of a package, made of components."""
    whole = Component(kind="container", name=manifest.model, version=str(manifest.number))
    held = [*components, server(), *models(manifest)]
    parts = [_component(each) for each in held]
    made_at = manifest.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    said: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made_at,
            "tools": {"components": [_component(server())]},
            "component": _component(whole),
        },
        "components": parts,
        "dependencies": [
            {"ref": _ref(whole), "dependsOn": sorted({part["bom-ref"] for part in parts})}
        ],
    }
    # The same parts are the same bill.
    name = msgspec.json.encode(said, order="deterministic").decode()
    said["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}"
    data = msgspec.json.format(msgspec.json.encode(said, order="deterministic")) + b"\n"
    return Blob(descriptor=descriptor_of(CYCLONEDX, data), data=data)


def server() -> Component:
    """Return what of ours is inside."""
    return Component(
        kind="application",
        name="setpoint",
        version=__version__,
        purl=f"pkg:pypi/setpoint@{__version__}",
        license="Apache-2.0",
    )


def models(manifest: Manifest) -> list[Component]:
    """Return the model, and its baseline, with the digests that the registry knows them by."""
    kind, number = "machine-learning-model", str(manifest.number)
    found = []
    for name, held in (
        (manifest.model, manifest.version),
        (f"{manifest.model} baseline", manifest.baseline),
    ):
        if held is not None:
            address = held.onnx or held.artifact
            digest = {"BLAKE3": address.removeprefix(_PREFIX)}
            found.append(Component(kind=kind, name=name, version=number, hashes=digest))
    return found


def _component(of: Component) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": of.kind,
        "bom-ref": _ref(of),
        "name": of.name,
        "version": of.version,
    }
    if of.purl:
        said["purl"] = of.purl
    if of.license:
        said["licenses"] = [{"expression": of.license}]
    if of.hashes:
        said["hashes"] = [{"alg": name, "content": value} for name, value in of.hashes.items()]
    return said


def _ref(of: Component) -> str:
    return of.purl or f"{of.kind}:{of.name}@{of.version}"
