"""Models of the libraries that Setpoint does not install, brought in and served.

``python flavor_journeys.py HOME [NAME…]`` in the environment of frameworks, as
`sdk_torch_journeys` does. Every model is asked over HTTP's application, loaded from its bytes.
"""

import asyncio
import io
import json
import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"

import catboost
import keras
import mlflow
import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import sdk_torch_journeys
import torch
import transformers
from msgspec.structs import replace
from sdk_torch_journeys import journey
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from setpoint.artifacts.files import FileStore
from setpoint.core.clock import SystemClock
from setpoint.errors import SetpointError
from setpoint.models import adding
from setpoint.models.entities import Stored
from setpoint.models.frames import columns_of, example_of
from setpoint.models.runtime import load
from setpoint.serve.app import App
from setpoint.serve.entities import Deployment, EndpointSettings, Role, Wanted
from setpoint.serve.following import Endpoints
from setpoint.serve.log import NoLog
from setpoint.serve.metrics import Metrics

sdk_torch_journeys.JOURNEYS.clear()  # its own are told elsewhere
_RNG = np.random.default_rng(7)
X = _RNG.normal(size=(300, 4))
GAPS = np.where(_RNG.random(X.shape) < 0.1, np.nan, X)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
THREE = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]
TEXTS = [("good film", "pos"), ("bad film", "neg"), ("good day", "pos"), ("bad day", "neg")]


class _Alone:
    """One model as a source of a server."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    def deployed(self, due: Any) -> Any:
        only = Deployment(model="m", version=1, role=Role.LIVE, weight=1.0)
        wanted = Wanted(deployments=[only], settings=EndpointSettings())
        return {"m": 1}, {"m": wanted} if due({"m": 1}) else {}

    def loader(self, _model: str, _version: int) -> Any:
        return lambda: self._predictor

    def baseline(self, _model: str, _version: int) -> Any:
        return None


def added(home: Path, model: Any, example: Any, **more: Any) -> tuple[FileStore, Stored]:
    store = FileStore(home / "objects")
    return store, adding.stored(store, model, example, **more)


def asked(predictor: Any, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a server of this model answers, by output."""
    endpoints = Endpoints(_Alone(predictor), Metrics())
    endpoints.refresh()

    async def ask() -> tuple[int, bytes]:
        app = App(endpoints, NoLog(), endpoints.metrics, SystemClock())
        sent: list[Any] = []
        body = json.dumps({"inputs": inputs}).encode()

        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return parts.pop() if parts else await asyncio.Future()  # the client stays

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v2/models/m/infer", "headers": []}
        await app(scope, receive, send)
        await app.close()
        return sent[0]["status"], sent[1]["body"]

    status, body = asyncio.run(ask())
    assert status == 200, body
    return {
        one["name"]: np.array(one["data"]).reshape(one["shape"])
        for one in json.loads(body)["outputs"]
    }


def matrix(rows: Any) -> list[dict[str, Any]]:
    array = np.asarray(rows)
    data = np.where(np.isnan(array), None, array).tolist()
    return [{"name": "x", "datatype": "FP64", "shape": list(array.shape), "data": data}]


# CatBoost


def _same_compiled(home: Path, model: Any, expected: Any, **more: Any) -> Stored:
    store, held = added(home, model, GAPS, **more)
    assert held.onnx is not None, held.parity
    native = Stored(flavor=held.flavor, artifact=held.artifact, signature=held.signature)
    rows = columns_of(example_of(GAPS), held.signature)
    for form in (held, native):
        found = load(store, form).predict(rows)
        found = found[held.signature.sole.name] if isinstance(found, dict) else found
        np.testing.assert_allclose(found, expected, atol=1e-6)
    return held


@journey
def catboost_is_compiled_and_decides_as_it_does(home: Path) -> None:
    few = {"iterations": 20, "depth": 4, "verbose": 0, "allow_writing_files": False}
    model = catboost.CatBoostClassifier(**few).fit(GAPS, Y)
    held = _same_compiled(home, model, model.predict_proba(GAPS)[:, 1])
    assert held.parity.probes["missing"] > 100
    _same_compiled(
        home,
        catboost.CatBoostClassifier(**few, nan_mode="Max").fit(GAPS, Y),
        catboost.CatBoostClassifier(**few, nan_mode="Max").fit(GAPS, Y).predict_proba(GAPS)[:, 1],
    )
    for loss in ("RMSE", "MAE", "Poisson"):
        fitted = catboost.CatBoostRegressor(**few, loss_function=loss).fit(GAPS, np.abs(X[:, 0]))
        kind = "Exponent" if loss == "Poisson" else "RawFormulaVal"
        _same_compiled(home, fitted, fitted.predict(GAPS, prediction_type=kind))
        fitted.save_model(str(home / "value.cbm"))
        assert added(home, home / "value.cbm", GAPS)[1].signature.classes == []
    model.save_model(str(home / "model.cbm"))
    store, held = added(home, home / "model.cbm", GAPS)  # which says what it is
    assert (held.flavor, held.signature.kind) == ("catboost", "classification")
    assert held.signature.classes == [0, 1]
    found = asked(load(store, held), matrix(GAPS[:5]))
    np.testing.assert_allclose(found["score"], model.predict_proba(GAPS[:5])[:, 1], atol=1e-6)


@journey
def catboost_of_several_classes_or_values_is_compiled(home: Path) -> None:
    few = {"iterations": 20, "depth": 4, "verbose": 0, "allow_writing_files": False}
    for loss in ("MultiClass", "MultiClassOneVsAll"):
        model = catboost.CatBoostClassifier(**few, loss_function=loss).fit(GAPS, THREE)
        held = _same_compiled(home, model, model.predict_proba(GAPS))
        assert held.parity.flips == 0
        assert held.parity.probes["thresholds"] > 100
        model.save_model(str(home / "several.cbm"))
        _, of_file = added(home, home / "several.cbm", GAPS)
        assert of_file.signature == held.signature
        assert of_file.signature.classes == ["low", "mid", "top"]
    model = catboost.CatBoostRegressor(**few, loss_function="MultiRMSE").fit(GAPS, X[:, :2])
    _same_compiled(home, model, model.predict(GAPS))


@journey
def catboost_of_categories_serves_as_it_is(home: Path) -> None:
    few = {"iterations": 10, "verbose": 0, "allow_writing_files": False}
    frame = pd.DataFrame({"a": X[:, 0], "city": np.where(X[:, 1] > 0, "Rome", "Oslo")})
    model = catboost.CatBoostClassifier(**few, cat_features=["city"]).fit(frame, THREE)
    store, held = added(home, model, frame)
    assert held.onnx is None
    assert held.signature.classes == ["low", "mid", "top"]
    found = asked(
        load(store, held),
        [
            {"name": "a", "datatype": "FP64", "shape": [2], "data": [2.0, -2.0]},
            {"name": "city", "datatype": "BYTES", "shape": [2], "data": ["Rome", "Oslo"]},
        ],
    )
    assert found["label"].tolist() == ["top", "low"]
    ask = pd.DataFrame({"a": [2.0, -2.0], "city": ["Rome", "Oslo"]})
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(ask), atol=1e-9)


# PyTorch


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3), torch.nn.Softmax(dim=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Image(torch.nn.Module):
    def forward(self, pixels: Any, scale: Any) -> Any:
        return pixels.mean(dim=(1, 2, 3)) * scale, pixels.amax(dim=(2, 3))


@journey
def torch_serves_modules_scripts_and_exported_programs(home: Path) -> None:
    net = Net().eval()
    expected = net(torch.tensor(X[:5], dtype=torch.float32)).detach().numpy()
    rows = torch.export.Dim("rows")
    example = torch.zeros(2, 4)
    exported = torch.export.export(net, (example,), dynamic_shapes={"x": {0: rows}})
    torch.jit.save(torch.jit.script(net), home / "net.pt")
    torch.export.save(exported, home / "net.pt2")
    for model in (net, torch.jit.script(net), exported, home / "net.pt", home / "net.pt2"):
        store, held = added(home, model, X, kind="classification", classes=["a", "b", "c"])
        assert held.flavor == "torch"
        found = asked(load(store, held), matrix(X[:5]))
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
        assert found["label"].tolist() == [["a", "b", "c"][at] for at in expected.argmax(axis=1)]


@journey
def torch_takes_images_and_gives_several_tensors(home: Path) -> None:
    pixels = _RNG.random((6, 3, 4, 4)).astype(np.float32)
    store, held = added(home, Image(), {"pixels": pixels, "scale": np.arange(6.0)})
    found = asked(
        load(store, held),
        [
            {
                "name": "pixels",
                "datatype": "FP32",
                "shape": [2, 3, 4, 4],
                "data": pixels[:2].reshape(-1).tolist(),
            },
            {"name": "scale", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]},
        ],
    )
    np.testing.assert_allclose(
        found["output_0"], pixels[:2].mean(axis=(1, 2, 3)) * [1, 2], rtol=1e-5
    )
    assert found["output_1"].shape == (2, 3)


@journey
def a_state_dict_is_refused_with_what_to_do(home: Path) -> None:
    torch.save(Net().state_dict(), home / "weights.pt")
    said = ""
    try:
        added(home, home / "weights.pt", X)
    except SetpointError as error:
        said = error.hint
    assert "torch.jit.save" in said


# Keras


@journey
def keras_serves_objects_and_files(home: Path) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    expected = keras.ops.convert_to_numpy(model(X[:5].astype(np.float32)))
    model.save(home / "model.keras")
    for each in (model, home / "model.keras"):
        store, held = added(home, each, X, kind="classification", classes=["a", "b", "c"])
        assert held.flavor == "keras"
        found = asked(load(store, held), matrix(X[:5]))
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)


@journey
def keras_of_several_inputs_and_outputs(home: Path) -> None:
    image, number = keras.Input((4, 4, 1), name="image"), keras.Input((1,), name="number")
    flat = keras.layers.Flatten()(image)
    joined = keras.layers.Concatenate()([flat, number])
    outs = {"value": keras.layers.Dense(1)(joined), "code": keras.layers.Dense(2)(flat)}
    model = keras.Model([image, number], outs)
    images = _RNG.random((3, 4, 4, 1)).astype(np.float32)
    numbers = np.arange(3, dtype=np.float32).reshape(3, 1)
    store, held = added(home, model, {"image": images, "number": numbers})
    found = asked(
        load(store, held),
        [
            {"name": "image", "datatype": "FP32", "shape": [3, 4, 4, 1], "data": images.tolist()},
            {"name": "number", "datatype": "FP32", "shape": [3, 1], "data": numbers.tolist()},
        ],
    )
    expected = model([images, numbers])
    for name in outs:
        told = keras.ops.convert_to_numpy(expected[name])
        np.testing.assert_allclose(found[name].reshape(told.shape), told, rtol=1e-4, atol=1e-5)


@journey
def keras_is_handed_its_inputs_by_their_names(home: Path) -> None:
    keras.utils.set_random_seed(2)
    x, w = keras.Input((5,), name="x"), keras.Input((2,), name="w")
    joined = keras.layers.Dense(1)(keras.layers.Concatenate()([x, w]))
    of_dict, of_list = keras.Model({"x": x, "w": w}, joined), keras.Model([x, w], joined)
    given = {"w": _RNG.random((3, 2), np.float32), "x": _RNG.random((3, 5), np.float32)}
    expected = keras.ops.convert_to_numpy(of_list([given["x"], given["w"]]))[:, 0]
    for model in (of_dict, of_list):
        for names in ("wx", "xw"):
            store, held = added(home, model, {name: given[name] for name in names})
            np.testing.assert_allclose(load(store, held).predict(given), expected, rtol=1e-5)
    by_place = {"first": given["x"], "second": given["w"]}  # names that the model does not know
    store, held = added(home, of_list, by_place)
    np.testing.assert_allclose(load(store, held).predict(by_place), expected, rtol=1e-5)


@journey
def keras_takes_numbers_by_the_names_of_its_inputs(home: Path) -> None:
    b, a = keras.Input((1,), name="b"), keras.Input((1,), name="a")
    twice = keras.layers.Add()([b, a, a])
    store, held = added(home, keras.Model({"b": b, "a": a}, twice), {"a": X[:, 0], "b": X[:, 1]})
    found = load(store, held).predict(X[:3, :2])
    np.testing.assert_allclose(found, 2 * X[:3, 0] + X[:3, 1], rtol=1e-4)


# transformers


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "day"]


def _pipeline(home: Path, task: str = "text-classification") -> Any:
    (home / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = transformers.BertTokenizerFast(str(home / "vocab.txt"))
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label={0: "neg", 1: "pos"},
        label2id={"neg": 0, "pos": 1},
    )
    kinds = {
        "text-classification": transformers.BertForSequenceClassification,
        "token-classification": transformers.BertForTokenClassification,
        "fill-mask": transformers.BertForMaskedLM,
    }
    model = kinds[task](config).eval()
    return transformers.pipeline(task, model=model, tokenizer=tokenizer)


@journey
def a_pipeline_of_transformers_gives_every_probability(home: Path) -> None:
    pipe = _pipeline(home)
    pipe.save_pretrained(home / "saved")
    texts = [text for text, _ in TEXTS]
    for model in (pipe, home / "saved"):
        store, held = added(home, model, {"text": texts})
        assert held.flavor == "transformers"
        assert held.signature.classes == ["neg", "pos"]
        found = asked(
            load(store, held), [{"name": "text", "datatype": "BYTES", "shape": [4], "data": texts}]
        )
        expected = pipe(texts)
        assert found["label"].tolist() == [one["label"] for one in expected]
        np.testing.assert_allclose(found["score"], [one["score"] for one in expected], atol=1e-6)
        by_name = [{each["label"]: each["score"] for each in row} for row in pipe(texts, top_k=2)]
        told = [[row["neg"], row["pos"]] for row in by_name]
        np.testing.assert_allclose(found["probabilities"], told, atol=1e-6)
    store, held = added(home, pipe, {"text": texts}, classes=["bad", "good"])
    renamed = load(store, held).predict({"text": np.array(texts, object)})["label"]
    assert renamed.tolist() == [{"neg": "bad", "pos": "good"}[one["label"]] for one in expected]


@journey
def a_folder_of_transformers_says_by_its_model_what_it_is_for(home: Path) -> None:
    pipe = _pipeline(home, "fill-mask")
    pipe.save_pretrained(home / "masked")
    texts = ["good [MASK]", "bad [MASK] day"]
    store, held = added(home, home / "masked", {"text": texts})
    found = load(store, held).predict({"text": np.array(texts, object)})
    best = [one[0] for one in pipe(texts)]
    assert found["sequence"].tolist() == [one["sequence"] for one in best]
    np.testing.assert_allclose(found["score"], [one["score"] for one in best], atol=1e-6)


@journey
def what_is_found_in_texts_is_all_of_it_and_maybe_nothing(home: Path) -> None:
    pipe = _pipeline(home, "token-classification")
    pipe.save_pretrained(home / "tagger")
    texts = ["good film", "", "day"]
    store, held = added(home, home / "tagger", {"text": texts})
    found = load(store, held).predict({"text": np.array(texts, object)})
    told = [[each["word"] for each in json.loads(row)] for row in found["output"]]
    assert told == [[each["word"] for each in pipe(text)] for text in texts]
    assert [] in told


@journey
def a_version_without_probabilities_answers_as_it_did(home: Path) -> None:
    store, held = added(home, _pipeline(home), {"text": ["good film"]})
    outputs = [each for each in held.signature.outputs if each.name == "label"]
    before = replace(held, signature=replace(held.signature, outputs=outputs, classes=[]))
    found = load(store, before).predict({"text": np.array(["bad film"], object)})
    assert set(found) == {"label", "score"}


@journey
def a_pipeline_for_images_gives_every_probability(home: Path) -> None:
    torch.manual_seed(4)
    few = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    names = {at: f"kind {at}" for at in range(7)}  # more than the five that it tells by itself
    config = transformers.ViTConfig(
        **few, intermediate_size=16, image_size=8, patch_size=4, id2label=names
    )
    model = transformers.ViTForImageClassification(config).eval()
    size = {"height": 8, "width": 8}
    processor = transformers.AutoImageProcessor.from_pretrained(_processor(home, size))
    pipe = transformers.pipeline("image-classification", model=model, image_processor=processor)
    pictures = [_picture(shade) for shade in (20, 200)]
    pipe.save_pretrained(home / "saved")
    store, held = added(home, home / "saved", {"image": pictures})
    assert held.signature.classes == list(names.values())
    found = load(store, held).predict({"image": np.array(pictures, object)})
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found["probabilities"].max(axis=1), found["score"], atol=1e-9)


def _processor(home: Path, size: dict[str, int]) -> Path:
    said = {"image_processor_type": "ViTImageProcessor", "size": size}
    (home / "preprocessor_config.json").write_text(json.dumps(said))
    return home


def _picture(shade: int) -> bytes:
    packed = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), (shade, 90, 90)).save(packed, "PNG")
    return packed.getvalue()


# ONNX and MLflow


@journey
def an_onnx_file_has_its_own_outputs(home: Path) -> None:
    fitted = LogisticRegression(max_iter=500).fit(X, THREE)
    made = to_onnx(fitted, X[:1].astype(np.float32), options={"zipmap": False})
    (home / "model.onnx").write_bytes(made.SerializeToString())
    names = fitted.classes_.tolist()
    store, held = added(home, home / "model.onnx", X, kind="classification", classes=names)
    found = asked(load(store, held), matrix(X[:20]))
    assert found["label"].tolist() == fitted.predict(X[:20]).tolist()
    np.testing.assert_allclose(found["probabilities"], fitted.predict_proba(X[:20]), atol=1e-5)
    store, held = added(home, home / "model.onnx", X)
    found = asked(load(store, held), matrix(X[:20]))
    assert found["label"].tolist() == fitted.predict(X[:20]).tolist()
    assert found["probabilities"].shape == (20, 3)


class Doubles(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: Any) -> Any:  # noqa: ARG002 - MLflow's own
        return pd.DataFrame({"twice": model_input["a"] * 2, "word": "w" + model_input["b"]})


@journey
def folders_of_mlflow_of_any_flavor(home: Path) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    fitted = LogisticRegression().fit(frame, THREE)
    mlflow.sklearn.save_model(fitted, home / "sk", serialization_format="cloudpickle")
    store, held = added(home, home / "sk", frame)
    assert held.flavor == "mlflow"
    found = asked(load(store, held), matrix(X[:5]))
    assert found["label"].tolist() == fitted.predict(frame[:5]).tolist()
    mlflow.pyfunc.save_model(home / "py", python_model=Doubles())
    table = pl.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    store, held = added(home, home / "py", table)
    found = asked(
        load(store, held),
        [
            {"name": "a", "datatype": "FP64", "shape": [2], "data": [3.0, 4.0]},
            {"name": "b", "datatype": "BYTES", "shape": [2], "data": ["p", "q"]},
        ],
    )
    assert found["twice"].tolist() == [6.0, 8.0]
    assert found["word"].tolist() == ["wp", "wq"]


if __name__ == "__main__":
    sdk_torch_journeys.main()
