"""XGBoost: its own bytes, and a compiled form that decides as it does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from setpoint.artifacts.files import FileStore
from setpoint.models import adding
from setpoint.models.entities import Stored
from setpoint.models.frames import columns_of, example_of
from setpoint.models.runtime import load

_RNG = np.random.default_rng(5)
X = _RNG.normal(size=(900, 5))
X[_RNG.random(X.shape) < 0.1] = np.nan
SIGNAL = np.nan_to_num(X[:, 0] - X[:, 2] * X[:, 1])
Y = (SIGNAL + _RNG.normal(size=900) * 0.3 > 0).astype(int)
FEW: dict[str, Any] = {"n_estimators": 25, "max_depth": 4, "n_jobs": 1}


def added(store: FileStore, model: Any, **more: Any) -> Stored:
    return adding.stored(store, model, X, **more)


def native(store: FileStore, held: Stored) -> Any:
    bare = Stored(flavor=held.flavor, artifact=held.artifact, signature=held.signature)
    return load(store, bare)


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBClassifier(**FEW).fit(X, Y),
        xgboost.XGBClassifier(**FEW, base_score=0.3, scale_pos_weight=3).fit(X, Y),
        xgboost.XGBClassifier(**FEW, grow_policy="lossguide", max_leaves=9).fit(X, Y),
        xgboost.XGBRegressor(**FEW).fit(X, SIGNAL),
        xgboost.XGBRegressor(**FEW, objective="count:poisson").fit(X, np.abs(SIGNAL)),
        xgboost.XGBRegressor(**FEW, objective="reg:absoluteerror").fit(X, SIGNAL),
        xgboost.XGBRegressor(**FEW, num_parallel_tree=3).fit(X, SIGNAL),
    ],
)
def test_a_compiled_model_answers_as_xgboost_does(tmp_path: Path, model: Any) -> None:
    store = FileStore(tmp_path)
    held = added(store, model)
    assert held.flavor == "xgboost"
    assert held.parity is not None
    assert held.onnx is not None, held.parity.why
    assert held.parity.probes["missing"] > 100
    assert held.parity.probes["thresholds"] > 100
    rows = columns_of(example_of(X), held.signature)
    answers = load(store, held).predict(rows)
    assert answers == pytest.approx(native(store, held).predict(rows), abs=1e-5, rel=1e-5)
    if hasattr(model, "predict_proba"):
        assert answers == pytest.approx(model.predict_proba(X)[:, 1], abs=1e-6)


@pytest.mark.parametrize("model", [{"booster": "dart"}, {"booster": "gblinear"}])
def test_what_cannot_be_compiled_serves_as_it_is(tmp_path: Path, model: Any) -> None:
    made = xgboost.XGBClassifier(n_estimators=5, n_jobs=1, **model).fit(np.nan_to_num(X), Y)
    store = FileStore(tmp_path)
    held = adding.stored(store, made, np.nan_to_num(X))
    assert held.onnx is None
    assert held.parity is not None
    assert model["booster"] in held.parity.why
    found = load(store, held).predict(np.nan_to_num(X))
    assert found == pytest.approx(made.predict_proba(np.nan_to_num(X))[:, 1], abs=1e-6)


def test_several_classes_come_by_name(tmp_path: Path) -> None:
    labels = np.digitize(SIGNAL, [-0.7, 0.7])
    made = xgboost.XGBClassifier(**FEW).fit(X, labels)
    store = FileStore(tmp_path)
    held = added(store, made)
    assert held.signature.classes == [0, 1, 2]
    found = load(store, held).predict(X)
    assert found["probabilities"] == pytest.approx(made.predict_proba(X), abs=1e-6)


def test_a_file_is_added_as_xgboost_wrote_it(tmp_path: Path) -> None:
    made = xgboost.XGBClassifier(**FEW).fit(X, Y)
    store = FileStore(tmp_path / "objects")
    for name in ("model.ubj", "model.json"):
        path = tmp_path / name
        made.save_model(path)
        held = added(store, path, kind="classification")
        assert held.flavor == "xgboost"
        found = load(store, held).predict(X)
        assert found == pytest.approx(made.predict_proba(X)[:, 1], abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_file_says_what_it_tells_apart(tmp_path: Path, classes: int) -> None:
    labels = np.digitize(SIGNAL, [-0.7, 0.7][3 - classes :])
    made = xgboost.XGBClassifier(**FEW).fit(X, labels)
    made.save_model(tmp_path / "model.ubj")
    store = FileStore(tmp_path)
    for given in (tmp_path / "model.ubj", made.get_booster()):
        held = added(store, given)
        assert held.signature == added(store, made).signature
        assert held.signature.classes == [0, 1, 2][:classes]
    named = added(store, tmp_path / "model.ubj", classes=["a", "b", "c"][:classes])
    assert named.signature.classes == ["a", "b", "c"][:classes]


@pytest.mark.parametrize(
    "objective", ["reg:squarederror", "multi:softmax", "binary:logitraw", "rank:pairwise"]
)
def test_a_file_that_gives_no_probabilities_has_no_classes(tmp_path: Path, objective: str) -> None:
    more = {"num_class": 3} if objective == "multi:softmax" else {}
    given = {"objective": objective, "nthread": 1, **more}
    made = xgboost.train(given, xgboost.DMatrix(X, label=Y), num_boost_round=3)
    made.save_model(tmp_path / "model.ubj")
    held = added(FileStore(tmp_path), tmp_path / "model.ubj")
    assert (held.signature.classes, held.signature.kind) == ([], "any")
