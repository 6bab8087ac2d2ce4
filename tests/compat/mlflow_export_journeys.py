"""Run by MLflow's environment: loads an exported folder and scores rows with it."""

import json
import sys

import mlflow
import pandas as pd

model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pd.DataFrame(json.loads(sys.argv[2]))
scores = model.predict(rows)
print(json.dumps([float(each) for each in scores]))  # noqa: T201
