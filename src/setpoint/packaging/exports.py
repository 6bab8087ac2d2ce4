"""Writes one version, or the release it is in, as another system takes it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Conflict, Invalid
from setpoint.models.entities import ModelVersion
from setpoint.packaging.bentoml import bentoml
from setpoint.packaging.images import check
from setpoint.packaging.kubernetes import kserve, kubernetes, seldon
from setpoint.packaging.sagemaker import sagemaker
from setpoint.packaging.traffic import Traffic, images_of
from setpoint.transfer import pyfunc


class Wanted(Struct, frozen=True, kw_only=True):
    """What a system is to be told that nobody knows here."""

    image: str | None = None  #: repository of the images; kubernetes, kserve, sagemaker
    gateway: str = "gateway"  #: of the Gateway API that the route belongs to; kubernetes
    grpc: bool = False  #: whether the images speak gRPC; kubernetes
    storage: str | None = None  #: address under which the folders are put; seldon
    role: str | None = None  #: ARN of what SageMaker may do; sagemaker


class Exported(Struct, frozen=True, kw_only=True):
    """What was written."""

    model: str
    versions: list[int]  #: the live one first
    to: str
    path: str
    files: list[str]


def export(kind: str, traffic: Traffic, store: ObjectStore, path: Path, wanted: Wanted) -> Exported:
    """Write a version for another system.

    Args:
        kind: One of `KINDS`.
        traffic: The version, and those that are in a release with it.
        store: Where their bytes are.
        path: A folder; a file, if it is ONNX.
        wanted: What the system is to be told besides.

    Raises:
        Conflict: If a version may not serve, or has not the form that the system takes.
        Invalid: If something that the system has to be told is not there.
    """
    for arm in traffic.arms:
        check(arm.version)
    files = KINDS[kind](traffic, store, wanted)
    if kind == "onnx":
        path.parent.mkdir(parents=True, exist_ok=True)
        data = next(iter(files.values()))
        if path.exists() and (path.is_dir() or path.read_bytes() != data):
            raise Conflict(
                "there is something else already",
                where=str(path),
                hint="remove it, or name another file",
            )
        path.write_bytes(data)
        written = [path.name]
    else:
        _write(path, files)
        written = sorted(files)
    return Exported(
        model=traffic.model,
        versions=[arm.version.number for arm in traffic.arms],
        to=kind,
        path=str(path),
        files=written,
    )


def _kubernetes(traffic: Traffic, store: ObjectStore, wanted: Wanted) -> dict[str, bytes]:  # noqa: ARG001
    images = images_of(traffic, wanted.image)
    return _yaml(kubernetes(traffic, images, wanted.gateway, grpc=wanted.grpc))


def _kserve(traffic: Traffic, store: ObjectStore, wanted: Wanted) -> dict[str, bytes]:  # noqa: ARG001
    return _yaml(kserve(traffic, images_of(traffic, wanted.image)))


def _seldon(traffic: Traffic, store: ObjectStore, wanted: Wanted) -> dict[str, bytes]:
    if wanted.storage is None:
        raise Invalid(
            "Seldon loads models from a store of its own",
            hint="say where the folders will be put: --storage gs://bucket/models",
        )
    files = _yaml(seldon(traffic, wanted.storage))
    for arm in traffic.arms:
        folder = _folder(arm.version, store)
        files |= {f"models/{arm.name}/{path}": data for path, data in folder.items()}
    return files


def _sagemaker(traffic: Traffic, store: ObjectStore, wanted: Wanted) -> dict[str, bytes]:  # noqa: ARG001
    if wanted.role is None:
        raise Invalid(
            "SageMaker runs a model as a role of yours",
            hint="name it: --role arn:aws:iam::123456789012:role/serving",
        )
    calls = sagemaker(traffic, images_of(traffic, wanted.image), wanted.role)
    return {name: json.dumps(said, indent=2).encode() + b"\n" for name, said in calls.items()}


def _mlflow(traffic: Traffic, store: ObjectStore, wanted: Wanted) -> dict[str, bytes]:  # noqa: ARG001
    return _folder(traffic.live.version, store)


def _bentoml(traffic: Traffic, store: ObjectStore, wanted: Wanted) -> dict[str, bytes]:  # noqa: ARG001
    version = traffic.live.version
    return bentoml(version, _folder(version, store))


def _onnx(traffic: Traffic, store: ObjectStore, wanted: Wanted) -> dict[str, bytes]:  # noqa: ARG001
    version = traffic.live.version
    if version.onnx is None:
        why = version.parity.why if version.parity else ""
        raise Conflict(
            f"version {version.number} of {version.model!r} has no ONNX form: "
            "it is served as it was trained",
            where=why,
        )
    return {"model.onnx": _described(store.get(version.onnx), version)}


def _described(data: bytes, version: ModelVersion) -> bytes:
    """Return a graph that says what its columns and probabilities are called, and whose it is."""
    import onnx  # noqa: PLC0415 - 0.4 s, and only for this

    model, signature = onnx.load_from_string(data), version.signature
    said: dict[str, Any] = {
        "model": version.model,
        "version": version.number,
        "inputs": signature.names,
        **({"classes": signature.classes} if signature.classes else {}),
    }
    for name, value in said.items():
        text = value if isinstance(value, str) else json.dumps(value)
        model.metadata_props.add(key=f"setpoint.{name}", value=text)
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def _folder(version: ModelVersion, store: ObjectStore) -> dict[str, bytes]:
    files = pyfunc.folder(version)
    if not files:
        pickled = "a pickle, of which no compiled form is proven the same"
        raise Conflict(
            f"only Setpoint can load version {version.number} of {version.model!r}: "
            f"it is {'a graph of models' if version.parts else pickled}",
            where=version.parity.why if version.parity else "",
            hint="serve its image: setpoint build",
        )
    return {
        path: held if isinstance(held, bytes) else store.get(held.address)
        for path, held in files.items()
    }


#: What is written for each system: files by path, of its versions.
KINDS: dict[str, Callable[[Traffic, ObjectStore, Wanted], dict[str, bytes]]] = {
    "kubernetes": _kubernetes,
    "kserve": _kserve,
    "seldon": _seldon,
    "sagemaker": _sagemaker,
    "bentoml": _bentoml,
    "mlflow": _mlflow,
    "onnx": _onnx,
}


def _yaml(files: Mapping[str, list[Any]]) -> dict[str, bytes]:
    return {
        name: yaml.safe_dump_all(held, sort_keys=False).encode() for name, held in files.items()
    }


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is not empty", hint="name another folder, or remove this one")
    for path, data in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
