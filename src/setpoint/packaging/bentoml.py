"""A folder that `bentoml serve` and `bentoml build` take. Source: BentoML 1.4's services."""

import yaml

from setpoint.models.entities import ModelVersion
from setpoint.packaging.traffic import resource_name
from setpoint.transfer.pyfunc import requirements

_SERVICE = '''"""{model} version {number}, trained and registered by Setpoint."""

from pathlib import Path

import bentoml
import numpy as np
import pandas as pd
from bentoml.exceptions import InvalidArgument

from setpoint_model import _load_pyfunc


@bentoml.service(name="{name}")
class Model:
    def __init__(self) -> None:
        self._model = _load_pyfunc(str(Path(__file__).parent / "data"))

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the score of each row: a probability, or a value; NaN where it has none."""
        missing = [name for name in self._model.names if name not in rows]
        if missing:
            raise InvalidArgument("columns are missing: " + ", ".join(missing))
        return self._model.predict(rows)
'''
_BENTOML = "bentoml>=1.4,<2"


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
        "requirements.txt": "\n".join([_BENTOML, *requirements(version), ""]).encode(),
        **kept,
    }
