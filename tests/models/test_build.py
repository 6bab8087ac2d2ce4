"""Building: what is stored answers as what was trained, whatever form serves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
from sklearn import ensemble, linear_model, tree
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from setpoint.artifacts.files import FileStore
from setpoint.errors import Invalid, UserCodeFailed
from setpoint.models.build import build, latency
from setpoint.models.entities import Stored
from setpoint.models.frames import columns_of
from setpoint.models.metrics import Floats
from setpoint.models.runtime import load

N = 1_500
_RNG = np.random.default_rng(12)
NUMBERS = pl.DataFrame(
    {
        "distance": _RNG.normal(size=N),
        "seats": _RNG.integers(0, 9, N),
        "gusts": _RNG.normal(size=N),
    }
)
LABEL = (NUMBERS["distance"] + NUMBERS["gusts"] + _RNG.normal(size=N) > 0).to_numpy().astype(int)
VALUE = (NUMBERS["distance"] * 2 + NUMBERS["seats"]).to_numpy() + _RNG.normal(size=N)
GAPS = NUMBERS.with_columns(pl.when(pl.col("gusts") < 1).then("gusts"))
TEXT = NUMBERS.with_columns(origin=pl.Series(_RNG.choice(["EWR", "JFK", "LGA"], N)))
FEW: dict[str, Any] = {"random_state": 0}
LIGHT: dict[str, Any] = {"n_estimators": 30, "n_jobs": 1, "verbose": -1, **FEW}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def native(store: FileStore, stored: Stored) -> Any:
    return load(
        store,
        Stored(flavor=stored.flavor, artifact=stored.artifact, signature=stored.signature),
    )


def built(store: FileStore, model: Any, features: pl.DataFrame, kind: str) -> Stored:
    return build(store, model, features, kind=kind, rng=np.random.default_rng(1))


def light(kind: str = "classification", **settings: Any) -> Callable[..., Any]:
    made = lightgbm.LGBMClassifier if kind == "classification" else lightgbm.LGBMRegressor
    return lambda x, y: made(**(LIGHT | settings)).fit(x.to_numpy(), y)


CLASSIFIERS: dict[str, Callable[..., Any]] = {
    "lightgbm": light(),
    "lightgbm forest": light(boosting_type="rf", bagging_freq=1, bagging_fraction=0.5),
    "lightgbm cross entropy": light("regression", objective="cross_entropy"),
    "logistic": lambda x, y: linear_model.LogisticRegression().fit(x, y),
    "matrix": lambda x, y: linear_model.LogisticRegression().fit(x.to_numpy(), y),
    "tree": lambda x, y: tree.DecisionTreeClassifier(max_depth=6, **FEW).fit(x, y),
    "forest": lambda x, y: ensemble.RandomForestClassifier(20, **FEW).fit(x, y),
    "extra": lambda x, y: ensemble.ExtraTreesClassifier(20, **FEW).fit(x, y),
    "boosted": lambda x, y: ensemble.GradientBoostingClassifier(**FEW).fit(x, y),
    "histogram": lambda x, y: ensemble.HistGradientBoostingClassifier(**FEW).fit(x, y),
}
REGRESSORS: dict[str, Callable[..., Any]] = {
    "lightgbm": light("regression"),
    "lightgbm poisson": lambda x, y: light("regression", objective="poisson")(x, np.abs(y)),
    "linear": lambda x, y: linear_model.LinearRegression().fit(x, y),
    "forest": lambda x, y: ensemble.RandomForestRegressor(10, **FEW).fit(x, y),
    "boosted": lambda x, y: ensemble.GradientBoostingRegressor(**FEW).fit(x, y),
    "histogram": lambda x, y: ensemble.HistGradientBoostingRegressor(**FEW).fit(x, y),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_compiled_classifier_decides_like_the_native_one(store: FileStore, name: str) -> None:
    stored = built(store, CLASSIFIERS[name](NUMBERS, LABEL), NUMBERS, "classification")
    assert stored.parity is not None
    assert stored.parity.held, stored.parity.why
    assert stored.onnx is not None
    assert stored.parity.flips == 0
    rows = columns_of(NUMBERS, stored.signature)
    answers = load(store, stored).predict(rows)
    assert answers.dtype == np.float64
    assert answers == pytest.approx(native(store, stored).predict(rows), abs=1e-12)
    assert 0.7 < float(np.mean((answers > 0.5) == LABEL)) <= 1


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_compiled_regression_gives_the_native_values(store: FileStore, name: str) -> None:
    stored = built(store, REGRESSORS[name](NUMBERS, VALUE), NUMBERS, "regression")
    assert stored.onnx is not None, stored.parity
    rows = columns_of(NUMBERS, stored.signature)
    expected = native(store, stored).predict(rows)
    assert load(store, stored).predict(rows) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["lightgbm", "forest", "histogram", "extra"])
def test_missing_values_take_the_branch_they_took_in_training(store: FileStore, name: str) -> None:
    stored = built(store, CLASSIFIERS[name](GAPS, LABEL), GAPS, "classification")
    assert stored.onnx is not None, stored.parity
    assert stored.signature.missing
    assert stored.parity is not None
    assert stored.parity.probes["missing"] > 100
    assert stored.parity.probes["thresholds"] > 100


def test_a_tiny_value_is_the_zero_that_lightgbm_reads_it_as(store: FileStore) -> None:
    sparse = NUMBERS.select("distance", gusts=pl.col("gusts").clip(0, None))
    label = (sparse["gusts"] > 0).to_numpy().astype(int)
    stored = built(store, CLASSIFIERS["lightgbm"](sparse, label), sparse, "classification")
    assert stored.onnx is not None, stored.parity
    edge = float(np.float32(1e-35))
    tiny = [0.0, edge, -edge, edge / 2, -edge / 2, 5e-324, np.nextafter(edge, 1)]
    rows = np.array([[0.0, value] for value in [*tiny, -np.nextafter(edge, 1)]])
    assert load(store, stored).predict(rows).tolist() == pytest.approx(
        native(store, stored).predict(rows).tolist(), abs=1e-12
    )


def test_columns_and_a_matrix_get_the_same_answers(store: FileStore) -> None:
    stored = built(store, CLASSIFIERS["lightgbm"](NUMBERS, LABEL), NUMBERS, "classification")
    predictor = load(store, stored)
    columns = {name: NUMBERS[name].to_list() for name in reversed(NUMBERS.columns)}
    matrix = columns_of(NUMBERS, stored.signature)
    assert predictor.predict(columns).tolist() == predictor.predict(matrix).tolist()


def test_single_precision_rows_decide_like_their_double_values(store: FileStore) -> None:
    stored = built(store, CLASSIFIERS["lightgbm"](NUMBERS, LABEL), NUMBERS, "classification")
    single = np.asarray(columns_of(NUMBERS, stored.signature), dtype=np.float32)
    answers = load(store, stored).predict(single)
    assert answers == pytest.approx(native(store, stored).predict(single), abs=1e-15)


def test_text_columns_reach_a_pipeline_by_name_and_unseen_ones_are_compared(
    store: FileStore,
) -> None:
    encode = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS.columns),
            ("o", OneHotEncoder(handle_unknown="ignore"), ["origin"]),
        ]
    )
    model = make_pipeline(encode, linear_model.LogisticRegression()).fit(TEXT, LABEL)
    stored = built(store, model, TEXT, "classification")
    assert stored.onnx is not None, stored.parity
    assert stored.parity is not None
    assert stored.parity.probes["unseen category"] == 50
    row: dict[str, list[Any]] = {
        "distance": [0.5],
        "seats": [3],
        "gusts": [None],
        "origin": ["JFK"],
    }
    answers = [form.predict(row) for form in (load(store, stored), native(store, stored))]
    assert answers[0] == pytest.approx(answers[1], abs=1e-6)


def test_a_category_that_the_model_refuses_is_refused_in_our_words(store: FileStore) -> None:
    encode = ColumnTransformer([("o", OneHotEncoder(), ["origin"])], remainder="passthrough")
    model = make_pipeline(encode, linear_model.LogisticRegression(max_iter=1000))
    stored = built(store, model.fit(TEXT, LABEL), TEXT, "classification")
    row: dict[str, list[Any]] = {"distance": [0.5], "seats": [3], "gusts": [0.1], "origin": ["XXX"]}
    with pytest.raises(Invalid, match="refuses these rows"):
        load(store, stored).predict(row)


def test_a_model_that_cannot_be_compiled_serves_as_it_is_and_says_why(
    store: FileStore,
) -> None:
    model = ensemble.HistGradientBoostingClassifier(categorical_features=[1])
    stored = built(store, model.fit(NUMBERS, LABEL), NUMBERS, "classification")
    assert stored.onnx is None
    assert stored.parity is not None
    assert stored.parity.why == "it splits on categories"
    rows = columns_of(NUMBERS, stored.signature)
    assert load(store, stored).predict(rows).tolist() == model.predict_proba(NUMBERS)[:, 1].tolist()


class Twice:
    """A model of the project's own."""

    def predict(self, features: pl.DataFrame) -> Floats:
        return features["distance"].to_numpy() * 2


@pytest.mark.parametrize("model", [Twice(), lambda features: features["distance"] * 2])
def test_any_object_that_predicts_or_can_be_called_is_a_model(store: FileStore, model: Any) -> None:
    stored = built(store, model, TEXT, "regression")
    assert (stored.flavor, stored.onnx) == ("python", None)
    answers = load(store, stored).predict(columns_of(TEXT, stored.signature))
    assert answers.tolist() == (TEXT["distance"] * 2).to_list()


def test_rows_with_a_value_the_model_does_not_take_score_nan_and_the_others_stay(
    store: FileStore,
) -> None:
    stored = built(store, CLASSIFIERS["logistic"](NUMBERS, LABEL), NUMBERS, "classification")
    assert not stored.signature.missing
    predictor = load(store, stored)
    rows = np.asarray(columns_of(NUMBERS[:4], stored.signature)).copy()
    whole = predictor.predict(rows)
    rows[1, 0], rows[2, 1], rows[2, 0] = np.nan, np.inf, -np.inf
    found = predictor.predict(rows)
    assert np.isnan(found).tolist() == [False, True, True, False]
    assert found[[0, 3]].tolist() == whole[[0, 3]].tolist()


def test_no_rows_get_no_answers(store: FileStore) -> None:
    for model in (CLASSIFIERS["lightgbm"], CLASSIFIERS["logistic"]):
        stored = built(store, model(NUMBERS, LABEL), NUMBERS, "classification")
        assert load(store, stored).predict(np.empty((0, 3))).shape == (0,)
        assert native(store, stored).predict(np.empty((0, 3))).shape == (0,)


def test_the_same_model_is_stored_under_the_same_address(store: FileStore) -> None:
    made = [
        built(store, CLASSIFIERS["lightgbm"](NUMBERS, LABEL), NUMBERS, "classification")
        for _ in range(2)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (3, "a int cannot predict"),
        (lightgbm.LGBMClassifier(), "not fitted"),
        (lambda _: np.zeros(2), "one answer a row"),
        (lambda _: 0.5, "one answer a row"),
        (lambda x: [object()] * len(x), "gave a object"),
    ],
)
def test_what_is_no_usable_model_is_refused_when_it_is_built(
    store: FileStore, model: Any, says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        built(store, model, NUMBERS, "regression")


def test_a_model_trained_on_other_columns_fails_with_its_own_words(store: FileStore) -> None:
    model = linear_model.LogisticRegression().fit(NUMBERS.to_numpy()[:, :2], LABEL)
    with pytest.raises(UserCodeFailed, match="cannot score the rows"):
        built(store, model, NUMBERS, "classification")


def test_a_corrupt_artifact_is_not_loaded(store: FileStore) -> None:
    stored = built(store, Twice(), NUMBERS, "regression")
    store.path(stored.artifact).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(Invalid, match="corrupt"):
        load(store, stored)


def test_the_latency_of_a_compiled_row_is_below_a_millisecond(store: FileStore) -> None:
    stored = built(store, CLASSIFIERS["lightgbm"](NUMBERS, LABEL), NUMBERS, "classification")
    rows = columns_of(NUMBERS, stored.signature)
    assert 0 < latency(load(store, stored), rows) < 0.001
