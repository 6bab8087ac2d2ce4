"""Models that were trained elsewhere: what they give is seen once, and told ever after."""

import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline

from setpoint.artifacts.files import FileStore
from setpoint.errors import Denied, Invalid, NotFound, UserCodeFailed
from setpoint.models import adding
from setpoint.models.entities import Output, Stored
from setpoint.models.flavors.folders import pack, unpack
from setpoint.models.frames import example_of
from setpoint.models.runtime import load

_RNG = np.random.default_rng(3)
X = _RNG.normal(size=(300, 4))
FRAME = pl.DataFrame(X, schema=["a", "b", "c", "d"])
Y = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
TEXTS = ["good film", "bad film", "a good day", "a bad day"] * 20


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


class Mine:
    """What people write: opens something when it is loaded, predicts by name."""

    def __init__(self, offset: float) -> None:
        self.offset = offset
        self.opened: Any = None

    def load(self) -> None:
        self.opened = lambda: self.offset  # what no pickle holds

    def predict(self, frame: Any) -> Any:
        return [{"sum": float(row), "above": bool(row > self.opened())} for row in _sums(frame)]


class Handed:
    """Says what it was handed."""

    def predict(self, given: Any) -> Any:
        kind = type(given)
        name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
        count = len(next(iter(given.values()))) if isinstance(given, dict) else len(given)
        return [name] * count


def _sums(frame: Any) -> Any:
    return frame.sum_horizontal().to_list()


def answer(store: FileStore, held: Stored, rows: Any = None) -> Any:
    return load(store, held).predict(X if rows is None else rows)


def test_several_classes_have_their_probabilities(store: FileStore) -> None:
    names = np.array(["low", "middle", "high"])[THREE]
    model = RandomForestClassifier(10, random_state=0, n_jobs=1).fit(X, names)
    held = adding.stored(store, model, X)
    assert held.signature.classes == ["high", "low", "middle"]
    assert held.signature.outputs == [Output(name="probabilities", datatype="FP64", shape=[3])]
    found = answer(store, held)
    assert found["probabilities"] == pytest.approx(model.predict_proba(X))
    assert found["score"] == pytest.approx(model.predict_proba(X).max(axis=1))
    assert answer(store, held, np.empty((0, 4)))["probabilities"].shape == (0, 3)


@pytest.mark.parametrize("labels", [Y, THREE])
def test_the_text_of_lightgbm_says_what_it_tells_apart(
    store: FileStore, tmp_path: Path, labels: Any
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(X, labels)
    model.booster_.save_model(tmp_path / "model.txt")
    for given in (tmp_path / "model.txt", model.booster_):
        held = adding.stored(store, given, X)
        assert held.signature.kind == "classification"
        assert held.signature.classes == list(range(len(set(labels))))
        assert held.signature.outputs == adding.stored(store, model, X).signature.outputs
    value = lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1).fit(X, X[:, 0])
    assert adding.stored(store, value.booster_, X).signature.classes == []


def test_lightgbm_of_several_classes(store: FileStore) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(X, THREE)
    held = adding.stored(store, model, X)
    expected = np.asarray(model.predict_proba(X))
    assert answer(store, held)["probabilities"] == pytest.approx(expected)


def test_a_yes_or_no_keeps_its_names_and_is_compiled(store: FileStore) -> None:
    model = LogisticRegression().fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    held = adding.stored(store, model, FRAME)
    assert held.signature.classes == ["no", "yes"]
    assert held.signature.outputs == []
    assert held.onnx is not None
    assert answer(store, held) == pytest.approx(model.predict_proba(X)[:, 1])


def test_several_values_have_no_score(store: FileStore) -> None:
    model = RandomForestRegressor(5, n_jobs=1).fit(X, X[:, :2])
    held = adding.stored(store, model, X)
    assert held.signature.outputs == [Output(name="output", datatype="FP64", shape=[2])]
    assert not held.signature.scored
    assert answer(store, held)["output"] == pytest.approx(model.predict(X))


def test_a_transformer_gives_what_it_transforms(store: FileStore) -> None:
    model = PCA(2).fit(X)
    found = answer(store, adding.stored(store, model, X))
    assert found["output"] == pytest.approx(model.transform(X))


def test_an_object_of_ones_own_gives_values_by_name(store: FileStore) -> None:
    held = adding.stored(store, Mine(0.5), FRAME)
    assert held.flavor == "python"
    assert [(each.name, each.datatype) for each in held.signature.outputs] == [
        ("sum", "FP64"),
        ("above", "BOOL"),
    ]
    found = answer(store, held)
    assert found["sum"] == pytest.approx(X.sum(axis=1))
    assert found["above"].tolist() == (X.sum(axis=1) > 0.5).tolist()


def test_a_function_of_one_value_is_a_score(store: FileStore) -> None:
    held = adding.stored(store, _sums, FRAME)
    assert held.signature.outputs == []
    assert held.signature.kind == "any"
    assert answer(store, held) == pytest.approx(X.sum(axis=1))


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ("", "polars.DataFrame"),
        ("pandas", "pandas.DataFrame"),
        ("numpy", "numpy.ndarray"),
        ("columns", "builtins.dict"),
    ],
)
def test_an_object_is_handed_what_it_asks_for(store: FileStore, frame: str, name: str) -> None:
    held = adding.stored(store, Handed(), FRAME, frame=frame)
    assert held.signature.outputs == [Output(name="label", datatype="BYTES")]
    assert set(answer(store, held)["label"]) == {name}


def test_texts_go_in_where_they_went_in_training(store: FileStore) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model.fit(TEXTS, ["good" in text for text in TEXTS])

    def asked(frame: Any) -> Any:
        return model.predict_proba(frame["text"].to_list())

    held = adding.stored(store, asked, {"text": TEXTS}, classes=["bad", "good"])
    assert [each.datatype for each in held.signature.inputs] == ["BYTES"]
    found = answer(store, held, {"text": ["good good", "bad bad"]})
    assert found[0] > 0.5 > found[1]


def test_tensors_and_bytes_are_seen_in_the_example() -> None:
    frame = example_of({"image": [b"a", b"b"], "pixels": np.zeros((2, 3, 4), np.float32)})
    assert frame.shape == (2, 2)
    squared = example_of(pl.DataFrame({"vector": [[1.0, 2.0], [3.0, 4.0]]}))
    assert squared["vector"].to_numpy().shape == (2, 2)
    with pytest.raises(Invalid, match="different lengths"):
        example_of(pl.DataFrame({"vector": [[1.0], [3.0, 4.0]]}))
    assert example_of(X).columns == ["x0", "x1", "x2", "x3"]
    assert example_of(np.zeros((5, 2, 2))).columns == ["input"]
    assert example_of([1.0, 2.0]).columns == ["x0"]


def test_a_text_that_is_missing_in_pandas_is_null_in_the_example() -> None:
    gaps = pd.DataFrame({"plan": ["basic", None], "fee": [1.0, np.nan], "kids": [1, 2]})
    for given in (gaps, gaps.astype({"plan": object, "fee": "Float64", "kids": "Int64"})):
        frame = example_of(given)
        assert frame.to_dict(as_series=False) == {
            "plan": ["basic", None],
            "fee": [1.0, None],
            "kids": [1, 2],
        }
        assert frame.schema == {"plan": pl.String, "fee": pl.Float64, "kids": pl.Int64}
    texts = example_of({"plan": ["basic", np.nan], "fee": [1.0, 2.0]})["plan"]
    assert texts.to_list() == ["basic", None]


@pytest.mark.parametrize(
    ("model", "example", "kind", "says"),
    [
        (LinearRegression().fit(X, X[:, 0]), X[:, :2], "", "cannot score"),
        (LinearRegression().fit(X, X[:, 0]), X[:0], "", "no rows"),
        (LinearRegression().fit(X, X[:, 0]), X, "odd", "no kind of model"),
        (Path("no.model"), X, "", "no model that is known"),
        (lambda _: 1.0, X, "", "one answer a row"),
        (lambda x: [1j] * len(x), X, "", "complex"),
        (lambda x: np.zeros((len(x), 3)), X, "classification", "2 classes are named"),
    ],
)
def test_what_cannot_be_served_is_said(
    store: FileStore, model: Any, example: Any, kind: str, says: str
) -> None:
    classes = ["a", "b"] if "classes" in says else []
    with pytest.raises((Invalid, UserCodeFailed), match=says):
        adding.stored(store, model, example, kind=kind, classes=classes)


def test_a_pickle_is_read_where_it_is_trusted(store: FileStore, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression().fit(X, X[:, 0] > 0)))
    with pytest.raises(Denied, match="runs whatever code"):
        adding.opened(str(path))
    held = adding.stored(store, adding.opened(str(path), trust=True), X)
    assert held.flavor == "sklearn"
    assert held.signature.classes == [False, True]
    path.write_bytes(b"nothing")
    with pytest.raises(Invalid, match="cannot be read"):
        adding.opened(str(path), trust=True)
    with pytest.raises(NotFound, match="no file"):
        adding.opened("nowhere")
    with pytest.raises(NotFound, match="cannot be imported"):
        adding.opened("no_such_module:Model")


def test_a_folder_is_the_same_bytes_whenever_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    data = pack(tmp_path)
    (tmp_path / "two").touch()
    assert pack(tmp_path) == data
    with unpack(data) as folder:
        assert (Path(folder) / "a" / "one").read_text() == "1"
    with pytest.raises(Invalid, match="unpacked"):
        unpack(b"nothing")


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    evil = BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../outside", "x")
    with unpack(evil.getvalue()) as folder:
        assert [path.name for path in Path(folder).rglob("*")] == ["outside"]
    assert not (tmp_path.parent / "outside").exists()


def test_a_classifier_of_several_targets_gives_each_of_them(store: FileStore) -> None:
    names = np.array(["low", "middle", "high"])
    model = RandomForestClassifier(5, random_state=0).fit(X, np.column_stack([Y, THREE]))
    split = MultiOutputClassifier(LogisticRegression()).fit(X, np.column_stack([Y, THREE]))
    texts = MultiOutputClassifier(LogisticRegression()).fit(X, names[np.column_stack([Y, THREE])])
    for one in (model, split, texts):
        held = adding.stored(store, one, FRAME)
        assert held.onnx is None
        given = load(store, held).predict(X[:9])
        for at, wanted in enumerate(one.predict_proba(X[:9])):
            np.testing.assert_allclose(given[f"probabilities_{at}"], wanted)
            assert given[f"label_{at}"].tolist() == one.predict(X[:9])[:, at].tolist()


def test_a_pipeline_of_words_is_handed_texts(store: FileStore) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
        TEXTS, ["good" in each for each in TEXTS]
    )
    held = adding.stored(store, model, {"text": TEXTS})
    asked = ["good", "bad bad day", "", None]
    found = load(store, held).predict({"text": np.array(asked, object)})
    wanted = model.predict_proba([each or "" for each in asked])[:, 1]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_clusters_are_what_predict_says(store: FileStore) -> None:
    model = KMeans(3, random_state=0, n_init=1).fit(X)
    held = adding.stored(store, model, FRAME)
    assert load(store, held).predict(X[:50]).tolist() == model.predict(X[:50]).tolist()


def test_a_lone_output_of_onnx_keeps_its_name(store: FileStore, tmp_path: Path) -> None:
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 4])
    told = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 3])
    weights = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["image", "w"], ["logits"])
    graph = helper.make_graph([node], "g", [given], [told], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    held = adding.stored(store, str(tmp_path / "m.onnx"), FRAME)
    with pytest.raises(NotFound, match="no file"):
        adding.stored(store, str(tmp_path / "other.onnx"), FRAME)
    assert [each.name for each in held.signature.outputs] == ["logits"]
    np.testing.assert_allclose(load(store, held).predict(X[:5])["logits"], X[:5, :3], rtol=1e-6)
