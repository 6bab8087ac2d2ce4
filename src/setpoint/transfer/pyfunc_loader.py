"""Scores rows with a model that Setpoint trained, wherever MLflow loads it.

This file is handed out with the model and runs in its reader's environment: it needs NumPy and
what the model runs on (ONNX Runtime or LightGBM), and nothing of Setpoint.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def _load_pyfunc(path: str) -> "Model":
    """Return the model in a folder, as MLflow asks for it."""
    folder = Path(path)
    told = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    made = _onnx if (folder / "model.onnx").exists() else _lightgbm
    return Model(told, made(folder))


class Model:
    """Scores rows: the probability of the positive class, or the value of a regression.

    Of several classes, or values, it gives an array with a row of them for each row. A row with a
    NaN or an infinity that the model does not take scores NaN.
    """

    def __init__(self, told: dict[str, Any], score: Callable[[dict[str, Any]], Any]) -> None:
        self._told = told
        self._score = score
        self.names = [each["name"] for each in told["inputs"]]

    def predict(self, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002 - MLflow's
        """Return the scores [n] of a data frame, of a mapping of columns, or of a matrix.

        Of several classes that is [n, classes], in the order of ``metadata: classes`` in MLmodel.
        """
        inputs = self._told["inputs"]
        if not hasattr(model_input, "keys"):
            matrix = np.asarray(model_input)
            model_input = {each["name"]: matrix[:, at] for at, each in enumerate(inputs)}
        columns = {each["name"]: _column(model_input[each["name"]], each) for each in inputs}
        numbers = [columns[each["name"]] for each in inputs if each["datatype"] != "BYTES"]
        width = self._told.get("output", {}).get("shape", [])
        scores = np.asarray(self._score(columns), np.float64).reshape(-1, *width)
        refused = np.zeros(len(scores), bool)
        for values in numbers:
            refused |= np.isnan(values) & (not self._told["missing"])
            refused |= np.isinf(values) & (not self._told["infinite"])
        scores[refused] = np.nan
        return scores


def _column(values: Any, of: dict[str, str]) -> Any:
    if of["datatype"] != "BYTES":
        return np.asarray(values, np.float64).reshape(-1)
    found = np.asarray(values, object).reshape(-1)
    return np.array([each if isinstance(each, str) else "" for each in found], object)


def _onnx(folder: Path) -> Callable[[dict[str, Any]], Any]:
    runtime: Any = import_module("onnxruntime")
    file = str(folder / "model.onnx")
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    wanted = session.get_inputs()
    kinds = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(string)": object}

    def score(columns: dict[str, Any]) -> Any:
        if len(wanted) == 1 and wanted[0].name not in columns:
            feed = {wanted[0].name: np.column_stack(list(columns.values()))}
        else:
            feed = {each.name: columns[each.name].reshape(-1, 1) for each in wanted}
        feed = {each.name: feed[each.name].astype(kinds[each.type]) for each in wanted}
        return session.run(None, feed)[0]

    return score


def _lightgbm(folder: Path) -> Callable[[dict[str, Any]], Any]:
    booster = import_module("lightgbm").Booster(model_file=str(folder / "model.txt"))
    return lambda columns: booster.predict(np.column_stack(list(columns.values())))
