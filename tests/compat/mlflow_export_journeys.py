"""Run by MLflow's environment: loads an exported folder and scores rows with it.

It tells what MLflow warns of Python's version, too, and the environment that it would make.
"""

import json
import logging
import sys
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models.model import Model
from mlflow.utils.environment import _PythonEnv

folder, rows = sys.argv[1:]
warned: list[str] = []


class Listening(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "Python version" in record.getMessage():
            warned.append(record.getMessage())


logging.getLogger("mlflow.pyfunc").addHandler(Listening())
model = mlflow.pyfunc.load_model(folder)
scores = model.predict(pd.DataFrame(json.loads(rows)))
flavor = Model.load(folder).flavors["python_function"]
environment = _PythonEnv.from_yaml(Path(folder, flavor["env"]["virtualenv"])).to_dict()
told = {"scores": [float(each) for each in scores], "warned": warned, "environment": environment}
print(json.dumps(told))  # noqa: T201
