"""Loads, in MLflow's environment, versions that Setpoint trained: their scores of some rows.

``python mlflow_trained_journeys.py URL ROWS URI…``, where ROWS is JSON: values by column.
"""

import json
import sys

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

url, rows, *uris = sys.argv[1:]
mlflow.set_tracking_uri(url)
frame = pd.DataFrame(json.loads(rows))
for uri in uris:
    try:
        model = mlflow.pyfunc.load_model(uri)
    except MlflowException as error:
        told = {"uri": uri, "error": str(error)}
    else:
        named = model.metadata.get_input_schema().input_names()
        told = {"uri": uri, "scores": model.predict(frame).tolist(), "inputs": named}
    sys.stdout.write(f"loaded {json.dumps(told)}\n")
