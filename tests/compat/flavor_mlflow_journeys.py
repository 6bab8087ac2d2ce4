"""MLflow's folders by what their signatures say: columns of every type, and tensors.

``python flavor_mlflow_journeys.py HOME [NAME…]``, in the environment of frameworks.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import sdk_torch_journeys
import torch
from flavor_journeys import THREE, Net, X, added, asked, matrix
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import Schema, TensorSpec
from sdk_torch_journeys import journey
from sklearn.linear_model import LogisticRegression

from setpoint.errors import SetpointError
from setpoint.models.runtime import load

sdk_torch_journeys.JOURNEYS.clear()  # its own, and those of the other flavors
CLOUDPICKLE = {"serialization_format": "cloudpickle"}


class Kinds(mlflow.pyfunc.PythonModel):
    """Tells the dtypes of what it is handed, and one number a row."""

    def predict(self, context: Any, model_input: Any) -> Any:  # noqa: ARG002 - MLflow's own
        if isinstance(model_input, dict):
            kinds = " ".join(f"{name}:{each.dtype}" for name, each in model_input.items())
            total = sum(each.reshape(len(each), -1).sum(axis=1) for each in model_input.values())
        else:
            kinds = " ".join(str(each) for each in model_input.dtypes)
            total = model_input.select_dtypes("number").sum(axis=1).to_numpy()
        return {"total": total, "kinds": np.full(len(total), kinds, object)}


def _refused(home: Path, folder: Path, example: Any) -> SetpointError:
    try:
        added(home, folder, example)
    except SetpointError as error:
        return error
    raise AssertionError


@journey
def columns_are_of_the_types_of_the_signature(home: Path) -> None:
    frame = pd.DataFrame(
        {
            "single": X[:, 0].astype("float32"),
            "double": np.arange(300.0),  # whole numbers, which a CSV does not tell from others
            "small": np.arange(300, dtype="int32"),
            "flag": X[:, 1] > 0,
            "word": "w",
            "at": pd.date_range("2026-01-01", periods=300),
        }
    )
    signature = infer_signature(frame)
    mlflow.pyfunc.save_model(home / "kinds", python_model=Kinds(), signature=signature)
    frame.to_csv(home / "kinds.csv", index=False)
    store, held = added(home, home / "kinds", pd.read_csv(home / "kinds.csv"))
    found = load(store, held).predict(
        {
            "single": np.array([0.1, np.nan]),
            "double": np.array([2.0, 3.0]),
            "small": np.array([4, 5]),
            "flag": np.array([True, False]),
            "word": np.array(["a", "b"], object),
            "at": np.array(["2026-01-01", "2026-01-02"], object),
        }
    )
    kinds = found["kinds"][0].split()
    assert kinds[:4] == ["float32", "float64", "int32", "bool"]
    assert kinds[5] == "datetime64[ns]"
    np.testing.assert_allclose(found["total"][0], 6 + np.float32(0.1))


@journey
def models_of_single_precision_and_small_numbers_are_asked(home: Path) -> None:
    frame = pd.DataFrame(X.astype("float32"), columns=list("abcd"))
    frame["n"] = np.arange(300, dtype="int32")
    fitted = LogisticRegression().fit(frame, THREE)
    signature = infer_signature(frame, fitted.predict(frame))
    mlflow.sklearn.save_model(fitted, home / "sk", signature=signature, **CLOUDPICKLE)
    store, held = added(home, home / "sk", frame.astype({"a": "float64"}))
    found = load(store, held).predict({name: frame[name].to_numpy() for name in frame})
    assert found["label"].tolist() == fitted.predict(frame).tolist()


@journey
def what_mlflow_refuses_is_told_in_its_words(home: Path) -> None:
    frame = pd.DataFrame({"n": np.arange(300, dtype="int32"), "a": X[:, 0]})
    signature = infer_signature(frame)
    mlflow.pyfunc.save_model(home / "kinds", python_model=Kinds(), signature=signature)
    missing = _refused(home, home / "kinds", frame[["n"]])
    assert missing.where.startswith("Model is missing inputs ['a']"), missing.where
    gaps = _refused(home, home / "kinds", pd.DataFrame({"n": [1.0, None], "a": [1.0, 2.0]}))
    assert "Incompatible input types for column n" in gaps.where


@journey
def a_tensor_without_a_name_is_one_array(home: Path) -> None:
    single = X.astype("float32")
    fitted = LogisticRegression().fit(single, THREE)
    signature = infer_signature(single, fitted.predict(single))
    mlflow.sklearn.save_model(fitted, home / "sk", signature=signature, **CLOUDPICKLE)
    store, held = added(home, home / "sk", X)  # four columns
    found = asked(load(store, held), matrix(X[:5]))
    assert found["label"].tolist() == fitted.predict(single[:5]).tolist()
    net = Net().eval()
    given = net(torch.tensor(single)).detach().numpy()
    mlflow.pytorch.save_model(
        net, home / "net", signature=infer_signature(single, given), serialization_format="pickle"
    )
    store, held = added(home, home / "net", X, kind="classification", classes=["a", "b", "c"])
    found = asked(load(store, held), matrix(X[:5]))
    np.testing.assert_allclose(found["probabilities"], given[:5], atol=1e-6)
    store, held = added(home, home / "net", {"x": single[:, None].reshape(300, 4)}, kind="any")
    found = load(store, held).predict({"x": single[:2]})
    np.testing.assert_allclose(found["output"], given[:2], atol=1e-6)


@journey
def tensors_with_names_are_arrays_by_name(home: Path) -> None:
    specs = [
        TensorSpec(np.dtype("float32"), (-1, 2, 2), "pixels"),
        TensorSpec(np.dtype("int32"), (-1, 1), "scale"),
    ]
    signature = ModelSignature(inputs=Schema(specs))
    mlflow.pyfunc.save_model(home / "kinds", python_model=Kinds(), signature=signature)
    pixels = np.arange(12.0).reshape(3, 2, 2)
    store, held = added(home, home / "kinds", {"scale": [1, 2, 3], "pixels": pixels})
    found = load(store, held).predict({"scale": np.array([7.0, 8.0]), "pixels": pixels[:2]})
    assert found["kinds"][0] == "pixels:float32 scale:int32"
    assert found["total"].tolist() == [6 + 7, 22 + 8]


class Lengths(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: Any) -> Any:  # noqa: ARG002 - MLflow's own
        return np.char.str_len(model_input)


@journey
def a_tensor_of_texts_is_one_array_too(home: Path) -> None:
    signature = infer_signature(np.array(["one", "seven"]))
    mlflow.pyfunc.save_model(home / "texts", python_model=Lengths(), signature=signature)
    store, held = added(home, home / "texts", {"text": ["one", "seven"]}, kind="any")
    found = load(store, held).predict({"text": np.array(["three", None], object)})
    assert found.tolist() == [5, 0]


@journey
def what_is_no_time_is_refused(home: Path) -> None:
    frame = pd.DataFrame({"at": pd.date_range("2026-01-01", periods=3), "a": 1.0})
    signature = infer_signature(frame)
    mlflow.pyfunc.save_model(home / "kinds", python_model=Kinds(), signature=signature)
    refused = _refused(home, home / "kinds", {"at": ["soon"], "a": [1.0]})
    assert "column at" in refused.where, refused.where


if __name__ == "__main__":
    sdk_torch_journeys.main()
