"""A version that was trained here, as the folder of files that MLflow's clients load."""

from pathlib import Path

import msgspec
import yaml

from setpoint.models.entities import ModelVersion, Output
from setpoint.runs.entities import Artifact
from setpoint.transfer import pyfunc_loader
from setpoint.transfer.environments import MLFLOW, described, environment, pinned

_LOADER = "setpoint_model"
#: MLflow's names of the datatypes of inputs.
_TYPES = {"FP64": "double", "FP32": "float", "INT64": "long", "BOOL": "boolean", "BYTES": "string"}


def folder(version: ModelVersion) -> dict[str, Artifact | bytes]:
    """Return the files by path: objects of the version's, and bytes made of what is said of it.

    Empty if only Setpoint can load it: a pickle, of which no compiled form is proven the same.
    """
    weights, output = _weights(version), version.signature.sole
    if weights is None or output is None:
        return {}
    told = {
        "inputs": version.signature.inputs,
        "missing": version.signature.missing,
        "infinite": version.signature.infinite,
        "output": output,
    }
    return {
        "MLmodel": yaml.safe_dump(_description(version, output), sort_keys=False).encode(),
        **environment([MLFLOW, *requirements(version)]),
        f"code/{_LOADER}.py": Path(pyfunc_loader.__file__).read_bytes(),
        "data/inputs.json": msgspec.json.encode(told),
        f"data/model.{'onnx' if version.onnx else 'txt'}": weights,
    }


def requirements(version: ModelVersion) -> list[str]:
    """Return what the loader in a version's folder imports, in the releases that are here."""
    runs_on = "onnxruntime" if version.onnx else "lightgbm"
    return [pinned(name) for name in ("numpy", "pandas", runs_on)]


def _weights(version: ModelVersion) -> Artifact | None:
    """Return the model in a form that needs nothing of ours: ONNX, or LightGBM's own text."""
    if version.onnx:
        return Artifact(address=version.onnx, size=version.size)
    if version.flavor == "lightgbm" and version.signature.numeric:
        return Artifact(address=version.artifact, size=version.size)
    return None


def _description(version: ModelVersion, output: Output) -> dict[str, object]:
    inputs = [
        {"type": _TYPES[each.datatype], "name": each.name, "required": True}
        for each in version.signature.inputs
    ]
    loaded = {"loader_module": _LOADER, "code": "code", "data": "data", **described()}
    return {
        "artifact_path": "model",
        "run_id": version.run_id,
        "utc_time_created": f"{version.created_at:%Y-%m-%d %H:%M:%S.%f}",
        "flavors": {"python_function": loaded},
        "signature": {
            "inputs": msgspec.json.encode(inputs).decode(),
            "outputs": msgspec.json.encode([_told(output)]).decode(),
            "params": None,
        },
        "metadata": {
            "setpoint.version": version.ref,
            **({"classes": version.signature.classes} if output.shape else {}),
        },
    }


def _told(output: Output) -> dict[str, object]:
    """Return an output in MLflow's words: a column of numbers, or an array with a row a row."""
    if not output.shape:
        return {"type": "double", "name": output.name, "required": True}
    spec = {"dtype": "float64", "shape": [-1, *output.shape]}
    return {"type": "tensor", "name": output.name, "tensor-spec": spec}
