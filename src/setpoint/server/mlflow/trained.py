"""A version that was trained here, as the folder of files that MLflow's client loads.

The folder is nowhere: each of its files is made when it is asked for, or is an object of the
version's. So it costs nothing, and goes with the version.
"""

import re
from pathlib import Path
from urllib.parse import quote

import msgspec
import yaml

from setpoint.models.entities import ModelVersion
from setpoint.models.registry import commands, service
from setpoint.runs.entities import Artifact
from setpoint.server.mlflow import loader
from setpoint.server.mlflow.errors import Refused
from setpoint.server.mlflow.routing import Call

_OURS = re.compile(r"(?P<folder>setpoint/(?P<model>[^/]+)/(?P<number>\d+))(?:/.*)?")
_LOADER = "setpoint_model"
#: MLflow's names of the datatypes of inputs.
_TYPES = {"FP64": "double", "FP32": "float", "INT64": "long", "BOOL": "boolean", "BYTES": "string"}


def location(version: ModelVersion) -> str:
    """Return where MLflow's client finds the files of a version.

    Raises:
        Refused: If only Setpoint can load it.
    """
    if _weights(version) is None:
        raise Refused(
            f"Version {version.number} of {version.model} is kept as a {version.flavor} pickle "
            "and has no compiled form that others could load. Load it with Setpoint, or serve it."
        )
    return f"mlflow-artifacts:/setpoint/{quote(version.model)}/{version.number}"


def owns(path: str) -> bool:
    """Tell whether a path is in the folder of such a version."""
    return _OURS.fullmatch(path) is not None


def files(call: Call, path: str) -> dict[str, Artifact | bytes]:
    """Return the files of the version that a path is of, by their whole paths.

    Raises:
        NotFound: If there is no such version.
    """
    found = _OURS.fullmatch(path)
    if found is None:
        return {}
    asked = commands.OneVersion(model=found["model"], number=int(found["number"]))
    version = call.run(service.version, asked).version
    weights = _weights(version)
    if weights is None:
        return {}
    told = {
        "inputs": version.signature.inputs,
        "missing": version.signature.missing,
        "infinite": version.signature.infinite,
    }
    needs = "onnxruntime" if version.onnx else "lightgbm"
    made: dict[str, Artifact | bytes] = {
        "MLmodel": yaml.safe_dump(_description(version), sort_keys=False).encode(),
        "requirements.txt": f"mlflow\nnumpy\npandas\n{needs}\n".encode(),
        f"code/{_LOADER}.py": Path(loader.__file__).read_bytes(),
        "data/inputs.json": msgspec.json.encode(told),
        f"data/model.{'onnx' if version.onnx else 'txt'}": weights,
    }
    return {f"{found['folder']}/{name}": each for name, each in made.items()}


def _weights(version: ModelVersion) -> Artifact | None:
    """Return the model in a form that needs nothing of ours: ONNX, or LightGBM's own text."""
    if version.onnx:
        return Artifact(address=version.onnx, size=version.size)
    if version.flavor == "lightgbm" and version.signature.numeric:
        return Artifact(address=version.artifact, size=version.size)
    return None


def _description(version: ModelVersion) -> dict[str, object]:
    inputs = [
        {"type": _TYPES[each.datatype], "name": each.name, "required": True}
        for each in version.signature.inputs
    ]
    return {
        "artifact_path": "model",
        "run_id": version.run_id,
        "utc_time_created": f"{version.created_at:%Y-%m-%d %H:%M:%S.%f}",
        "flavors": {"python_function": {"loader_module": _LOADER, "code": "code", "data": "data"}},
        "signature": {
            "inputs": msgspec.json.encode(inputs).decode(),
            "outputs": '[{"type": "double", "name": "score", "required": true}]',
            "params": None,
        },
        "metadata": {"setpoint.version": version.ref},
    }
