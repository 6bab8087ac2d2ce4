"""A folder that `bentoml serve` and `bentoml build` take. Source: BentoML 1.4's services."""

import yaml

from setpoint.models.entities import ModelVersion
from setpoint.packaging.traffic import resource_name

_SERVICE = '''"""{model} version {number}, trained and registered by Setpoint."""

from pathlib import Path

import bentoml
import numpy as np
import pandas as pd

from setpoint_model import _load_pyfunc


@bentoml.service(name="{name}")
class Model:
    def __init__(self) -> None:
        self._model = _load_pyfunc(str(Path(__file__).parent / "data"))

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the score of each row: a probability, or a value; NaN where it has none."""
        return self._model.predict(rows)
'''
_PACKAGES = ("bentoml>=1.4", "numpy", "pandas")


def bentoml(version: ModelVersion, folder: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of a service.

    Args:
        version: What it serves.
        folder: The version's folder for MLflow: its loader and its data are the same.
    """
    name = resource_name(version.model)
    service = _SERVICE.format(model=version.model, number=version.number, name=name)
    kept = {
        path.removeprefix("code/"): data
        for path, data in folder.items()
        if path.startswith(("code/", "data/"))
    }
    runs_on = "onnxruntime" if version.onnx else "lightgbm"
    said = {
        "service": "service:Model",
        "name": name,
        "labels": {"setpoint.version": str(version.number), "setpoint.run": version.run_id},
        "include": ["*.py", "data/*"],
        "python": {"requirements_txt": "./requirements.txt"},
    }
    return {
        "service.py": service.encode(),
        "bentofile.yaml": yaml.safe_dump(said, sort_keys=False).encode(),
        "requirements.txt": "\n".join([*_PACKAGES, runs_on, ""]).encode(),
        **kept,
    }
