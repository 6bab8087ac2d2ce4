"""Models of several classes, and of several values, are compiled where that is proven the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from sklearn import ensemble, linear_model, tree
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from setpoint.artifacts.files import FileStore
from setpoint.models import adding
from setpoint.models.entities import Stored
from setpoint.models.explaining.explainer import explainer
from setpoint.models.frames import columns_of, example_of
from setpoint.models.runtime import load

N = 1_200
_RNG = np.random.default_rng(21)
X = _RNG.normal(size=(N, 5)).round(2)
GAPS = np.where(_RNG.random(X.shape) < 0.05, np.nan, X)
NUMBER = np.digitize(X[:, 0] + X[:, 1] * X[:, 2] + _RNG.normal(size=N) / 2, [-1, 0, 1])
NAMES = np.array(["north", "east", "south", "west"])[NUMBER]
VALUES = np.stack([X[:, 0] * 2 + X[:, 1], 1_000 * X[:, 2]], axis=1)
TEXT = pl.DataFrame(
    {"size": X[:, 0], "origin": np.array(["EWR", "JFK"])[(X[:, 1] > 0).astype(int)]}
)
FEW: dict[str, Any] = {"random_state": 0}
LIGHT: dict[str, Any] = {"n_estimators": 15, "n_jobs": 1, "verbose": -1, **FEW}
FAST: dict[str, Any] = {"n_estimators": 15, "n_jobs": 1}

#: How to train it, on what rows, and by how much its own sums may be apart from ours.
CLASSIFIERS: dict[str, tuple[Callable[[], Any], Any, float]] = {
    "logistic": (linear_model.LogisticRegression, X, 1e-12),
    "tree": (lambda: tree.DecisionTreeClassifier(max_depth=5, **FEW), GAPS, 0.0),
    "stump": (lambda: tree.DecisionTreeClassifier(min_samples_leaf=N, **FEW), X, 0.0),
    "forest": (lambda: ensemble.RandomForestClassifier(15, **FEW), GAPS, 0.0),
    "coarse forest": (
        lambda: ensemble.RandomForestClassifier(15, min_samples_leaf=7, **FEW), GAPS, 0.0
    ),
    "extra": (lambda: ensemble.ExtraTreesClassifier(15, **FEW), X, 0.0),
    "boosted": (lambda: ensemble.GradientBoostingClassifier(n_estimators=9, **FEW), X, 1e-12),
    "histogram": (lambda: ensemble.HistGradientBoostingClassifier(max_iter=9), GAPS, 1e-12),
    "lightgbm": (lambda: lightgbm.LGBMClassifier(**LIGHT), GAPS, 1e-12),
    "lightgbm one against all": (
        lambda: lightgbm.LGBMClassifier(objective="multiclassova", **LIGHT), GAPS, 1e-12
    ),
    "lightgbm forest": (
        lambda: lightgbm.LGBMClassifier(
            boosting_type="rf", bagging_freq=1, bagging_fraction=0.5, **LIGHT
        ),
        GAPS,
        1e-12,
    ),
    "xgboost": (lambda: xgboost.XGBClassifier(**FAST), GAPS, 1e-6),
    "xgboost of small forests": (
        lambda: xgboost.XGBClassifier(num_parallel_tree=3, subsample=0.5, **FAST), GAPS, 1e-6
    ),
    "discriminant": (LinearDiscriminantAnalysis, X, 1e-12),
    "pipeline": (
        lambda: make_pipeline(StandardScaler(), linear_model.LogisticRegression()), X, 1e-6
    ),
}  # fmt: skip
REGRESSIONS: dict[str, tuple[Callable[[], Any], Any]] = {
    "linear": (linear_model.LinearRegression, X),
    "one constant": (lambda: linear_model.Ridge(fit_intercept=False), X),
    "tree": (lambda: tree.DecisionTreeRegressor(max_depth=5, **FEW), GAPS),
    "forest": (lambda: ensemble.RandomForestRegressor(9, **FEW), GAPS),
    "xgboost": (lambda: xgboost.XGBRegressor(**FAST), GAPS),
    "pipeline": (lambda: make_pipeline(StandardScaler(), linear_model.Ridge()), X),
}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


def native(store: FileStore, held: Stored) -> Any:
    """Return the version as its own library answers."""
    one = Stored(flavor=held.flavor, artifact=held.artifact, signature=held.signature)
    return load(store, one)


def added(store: FileStore, model: Any, rows: Any, target: Any) -> Stored:
    named = np.unique(target) if type(model).__module__.startswith("xgboost") else None
    codes = target if named is None or target.ndim > 1 else np.searchsorted(named, target)
    return adding.stored(store, model.fit(rows, codes), rows)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_compiled_classifier_gives_the_probabilities_of_the_native_one(
    store: FileStore, name: str
) -> None:
    make, rows, tolerance = CLASSIFIERS[name]
    held = added(store, make(), rows, NAMES)
    assert held.parity is not None
    assert held.parity.held, held.parity.why
    assert (held.parity.flips, held.parity.non_finite) == (0, 0)
    assert held.parity.rows >= N
    assert held.onnx is not None
    found, wanted = load(store, held).predict(rows), native(store, held).predict(rows)
    assert found.keys() == wanted.keys() == {"score", "probabilities"}
    np.testing.assert_allclose(
        found["probabilities"], wanted["probabilities"], rtol=0, atol=tolerance
    )
    likeliest = found["probabilities"].argmax(axis=1)
    assert likeliest.tolist() == wanted["probabilities"].argmax(axis=1).tolist()
    np.testing.assert_array_equal(found["score"], found["probabilities"].max(axis=1))
    if name != "stump":
        assert np.mean(likeliest == np.unique(NAMES, return_inverse=True)[1]) > 0.3


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_compiled_regression_gives_all_values(store: FileStore, name: str) -> None:
    make, rows = REGRESSIONS[name]
    held = added(store, make(), rows, VALUES)
    assert held.onnx is not None, held.parity
    assert not held.signature.scored
    found, wanted = load(store, held).predict(rows), native(store, held).predict(rows)
    assert found.keys() == wanted.keys() == {"output"}
    assert found["output"].dtype == wanted["output"].dtype
    np.testing.assert_allclose(found["output"], wanted["output"], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("name", ["tree", "forest", "histogram", "lightgbm", "xgboost"])
def test_trees_are_compared_at_their_thresholds_and_with_gaps(store: FileStore, name: str) -> None:
    make, rows, _ = CLASSIFIERS[name]
    held = added(store, make(), rows, NAMES)
    assert held.parity is not None
    assert held.parity.probes["thresholds"] > 100
    assert held.parity.probes["missing"] > 200
    assert ("infinite" in held.parity.probes) is held.signature.infinite


def test_rows_that_a_forest_is_torn_about_keep_their_label(store: FileStore) -> None:
    rows, target = np.repeat(X, 2, axis=0), np.repeat(NUMBER, 2)
    target[target >= 2] = np.tile([2, 3], (target >= 2).sum() // 2)  # a 2 and a 3 of each row
    forest = ensemble.RandomForestClassifier(30, bootstrap=False, max_depth=6, **FEW)
    held = added(store, forest, rows, target)
    assert held.onnx is not None, held.parity
    found, wanted = load(store, held).predict(rows)["probabilities"], forest.predict_proba(rows)
    in_order = np.sort(found, axis=1)
    assert (in_order[:, -1] == in_order[:, -2]).any()
    np.testing.assert_array_equal(found, wanted)


def test_text_columns_and_unseen_categories(store: FileStore) -> None:
    encode = ColumnTransformer(
        [("o", OneHotEncoder(handle_unknown="ignore"), ["origin"])], remainder="passthrough"
    )
    model = make_pipeline(encode, linear_model.LogisticRegression())
    held = adding.stored(store, model.fit(TEXT, NAMES), TEXT)
    assert held.onnx is not None, held.parity
    assert held.parity is not None
    assert held.parity.probes["unseen category"] == 50
    row: dict[str, Any] = {"size": [0.5, -0.5, 0.1], "origin": ["JFK", "LHR", None]}
    found, wanted = load(store, held).predict(row), native(store, held).predict(row)
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-6)


def test_many_rows_one_row_and_none(store: FileStore) -> None:
    held = added(store, ensemble.RandomForestClassifier(9, **FEW), X, NAMES)
    predict = load(store, held).predict
    many = predict(X)["probabilities"]
    np.testing.assert_array_equal(many, native(store, held).predict(X)["probabilities"])
    for at in (0, 255, 256, N - 1):
        np.testing.assert_array_equal(predict(X[at : at + 1])["probabilities"][0], many[at])
    assert predict(np.empty((0, 5)))["probabilities"].shape == (0, 4)
    columns = columns_of(example_of(X), held.signature)
    named = {each.name: X[:, at] for at, each in enumerate(held.signature.inputs)}
    np.testing.assert_array_equal(predict(columns)["probabilities"], many)
    np.testing.assert_array_equal(predict(named)["probabilities"], many)


def test_rows_that_the_model_does_not_take_have_no_answer(store: FileStore) -> None:
    held = added(store, linear_model.LogisticRegression(), X, NAMES)
    assert held.onnx is not None
    rows = X[:3].copy()
    whole = load(store, held).predict(rows)["probabilities"]
    rows[1, 2] = np.nan
    found = load(store, held).predict(rows)
    assert np.isnan(found["probabilities"][1]).all()
    assert np.isnan(found["score"]).tolist() == [False, True, False]
    np.testing.assert_array_equal(found["probabilities"][[0, 2]], whole[[0, 2]])


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: make_pipeline(StandardScaler(), tree.DecisionTreeClassifier()), "a Pipeline"),
        (lambda: ensemble.HistGradientBoostingClassifier(categorical_features=[0]), "categories"),
        (lambda: xgboost.XGBClassifier(booster="dart", **FAST), "booster is dart"),
        (
            lambda: xgboost.XGBClassifier(multi_strategy="multi_output_tree", **FAST),
            "several outputs each",
        ),
        (LinearSVC, "not one array of numbers"),
    ],
)  # fmt: skip
def test_what_is_not_compiled_serves_as_it_is_and_says_why(
    store: FileStore, model: Callable[[], Any], why: str
) -> None:
    rows = np.column_stack([NUMBER % 3, X])
    held = added(store, model(), rows, NAMES)
    assert held.onnx is None
    assert held.parity is not None
    assert why in held.parity.why
    assert load(store, held).predict(rows).keys() == native(store, held).predict(rows).keys()


@pytest.mark.parametrize("name", ["logistic", "forest", "boosted"])
def test_the_score_of_several_classes_is_explained(store: FileStore, name: str) -> None:
    held = added(store, CLASSIFIERS[name][0](), X, NAMES)
    assert held.onnx is not None
    served = load(store, held).predict(X[:3])["score"]
    alike = explainer(store, held).explain(X[:3])
    as_native = explainer(store, held, native(store, held).predict).explain(X[:3])
    for one, other, score in zip(alike, as_native, served, strict=True):
        assert one.score == score
        assert one.base + sum(one.contributions) == pytest.approx(score, abs=1e-9)
        assert one.contributions == pytest.approx(other.contributions, abs=1e-9)
        assert one.method == "exact: all coalitions"
