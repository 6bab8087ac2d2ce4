"""Explanations against their definition: Shapley values over every coalition."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import polars as pl
import pytest
import xgboost
from sklearn import ensemble, linear_model, tree
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.models.explaining.brute import shapley

from setpoint.artifacts.files import FileStore
from setpoint.errors import Conflict
from setpoint.models.build import build
from setpoint.models.entities import Stored
from setpoint.models.explaining import background
from setpoint.models.explaining.entities import COALITIONS, LINEAR, PERMUTATIONS, TREES
from setpoint.models.explaining.explainer import explainer
from setpoint.models.frames import columns_of
from setpoint.models.runtime import load

N = 300
FEW: dict[str, Any] = {"random_state": 0}
LIGHT: dict[str, Any] = {"n_jobs": 1, "verbose": -1, **FEW}
Made = Callable[[], Any]

TREE_MODELS: dict[str, tuple[str, Made]] = {
    "stump": ("classification", lambda: tree.DecisionTreeClassifier(max_depth=1)),
    "forest": ("classification", lambda: ensemble.RandomForestClassifier(8, **FEW)),
    "extra trees": ("regression", lambda: ensemble.ExtraTreesRegressor(8, max_depth=5, **FEW)),
    "boosted": ("regression", lambda: ensemble.GradientBoostingRegressor(n_estimators=9, **FEW)),
    "histogram": ("regression", lambda: ensemble.HistGradientBoostingRegressor(max_iter=9)),
    "lightgbm": ("regression", lambda: lightgbm.LGBMRegressor(n_estimators=9, **LIGHT)),
}
TREE_MODELS["xgboost"] = (
    "regression",
    lambda: xgboost.XGBRegressor(n_estimators=9, max_depth=3, n_jobs=1),
)
LINEAR_MODELS: dict[str, tuple[str, Made]] = {
    "logistic": ("classification", lambda: linear_model.LogisticRegression(C=100)),
    "ridge": ("regression", linear_model.Ridge),
}
BOOSTED: dict[str, tuple[str, Made]] = {
    "lightgbm": ("classification", lambda: lightgbm.LGBMClassifier(n_estimators=20, **LIGHT)),
    "histogram": ("classification", lambda: ensemble.HistGradientBoostingClassifier(max_iter=9)),
    "poisson": ("regression", lambda: lightgbm.LGBMRegressor(objective="poisson", **LIGHT)),
}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def rows(width: int, *, gaps: bool = False) -> Any:
    rng = np.random.default_rng(width)
    made = rng.normal(size=(N, width)).round(1)
    if gaps:
        made[rng.random(made.shape) < 0.2] = np.nan
    return made


def trained(store: FileStore, how: tuple[str, Made], values: Any) -> Stored:
    kind, make = how
    filled = np.nan_to_num(values)
    label = filled[:, 0] + filled[:, 1] * filled[:, 2] + 0.5 * np.sin(9 * filled[:, -1])
    label = label > 0 if kind == "classification" else np.exp(label / 4)
    model = make().fit(values, label.astype(float))
    table = pl.DataFrame({f"x{at}": values[:, at] for at in range(values.shape[1])})
    return build(store, model, table, kind=kind, rng=np.random.default_rng(1))


def against_the_definition(store: FileStore, stored: Stored, given: Any, method: str) -> None:
    predict = load(store, stored).predict
    found = explainer(store, stored).explain(given)
    assert stored.background is not None
    others = background.decode(store.get(stored.background), stored.signature)
    for row, one in zip(given, found, strict=True):
        assert one.method == method
        assert one.errors == []
        wanted = shapley(lambda mixed: predict(np.ascontiguousarray(mixed)), row, others)
        np.testing.assert_allclose(one.contributions, wanted, atol=1e-9)
        assert one.base == pytest.approx(float(predict(others).mean()), abs=1e-12)


def adds_up_to_what_serves(store: FileStore, stored: Stored, given: Any) -> None:
    served = load(store, stored).predict(given)
    for one, score in zip(explainer(store, stored).explain(given), served, strict=True):
        assert one.base + sum(one.contributions) == pytest.approx(score, abs=1e-9)
        assert one.score == score


@pytest.mark.parametrize("name", TREE_MODELS)
def test_trees_are_explained_exactly(store: FileStore, name: str) -> None:
    values = rows(5)
    stored = trained(store, TREE_MODELS[name], values)
    assert stored.onnx is not None
    against_the_definition(store, stored, values[:3], TREES)


@pytest.mark.parametrize("name", ["histogram", "lightgbm"])
def test_missing_values_go_the_way_that_training_found_for_them(
    store: FileStore, name: str
) -> None:
    values = rows(5, gaps=True)
    stored = trained(store, TREE_MODELS[name], values)
    given = np.vstack([values[:3], np.full((1, 5), np.nan)])
    against_the_definition(store, stored, given, TREES)


def test_trees_of_more_inputs_than_a_word_has_bits_add_up(store: FileStore) -> None:
    values = rows(70)
    stored = trained(store, TREE_MODELS["forest"], values)
    adds_up_to_what_serves(store, stored, values[:2])
    assert explainer(store, stored).explain(values[:1])[0].method == TREES


@pytest.mark.parametrize("name", LINEAR_MODELS)
def test_linear_models_are_explained_exactly_in_the_score_that_serves(
    store: FileStore, name: str
) -> None:
    values = rows(5)
    stored = trained(store, LINEAR_MODELS[name], values)
    against_the_definition(store, stored, values[:3], LINEAR)
    adds_up_to_what_serves(store, stored, values[:3])


def test_graphs_of_other_converters_are_explained_by_all_coalitions(store: FileStore) -> None:
    model = make_pipeline(StandardScaler(), linear_model.LogisticRegression())
    values = rows(3)
    stored = trained(store, ("classification", lambda: model), values)
    assert stored.onnx is not None
    against_the_definition(store, stored, values[:2], COALITIONS)


@pytest.mark.parametrize("name", BOOSTED)
def test_boosted_trees_of_few_inputs_are_explained_by_all_coalitions(
    store: FileStore, name: str
) -> None:
    values = rows(5, gaps=name == "histogram")
    stored = trained(store, BOOSTED[name], values)
    assert stored.onnx is not None
    against_the_definition(store, stored, values[:2], COALITIONS)


@pytest.mark.parametrize("name", BOOSTED)
def test_with_more_inputs_estimates_lie_within_their_errors(store: FileStore, name: str) -> None:
    values = rows(11)
    stored = trained(store, BOOSTED[name], values)
    adds_up_to_what_serves(store, stored, values[:2])
    predict = load(store, stored).predict
    made = explainer(store, stored)
    (one,) = made.explain(values[:1])
    assert one.method == PERMUTATIONS
    assert one.evaluations > 0
    exact = shapley(_together(predict), values[0], made._background)
    off = np.abs(np.array(one.contributions) - exact)
    assert (off <= 5 * np.array(one.errors) + 1e-12).all()
    assert max(one.errors) < 0.002


def test_a_guide_makes_errors_smaller_and_no_bias(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = rows(11)
    stored = trained(store, BOOSTED["lightgbm"], values)
    (guided,) = explainer(store, stored).explain(values[:1])
    monkeypatch.setattr("setpoint.models.explaining.explainer._STEEPEST", 0.0)
    (plain,) = explainer(store, stored).explain(values[:1])
    assert max(guided.errors) < 0.6 * max(plain.errors)
    both = np.hypot(guided.errors, plain.errors)
    assert (np.abs(np.subtract(guided.contributions, plain.contributions)) <= 5 * both).all()


def test_the_same_row_is_explained_the_same_again(store: FileStore) -> None:
    values = rows(11)
    stored = trained(store, BOOSTED["lightgbm"], values)
    first, second = explainer(store, stored), explainer(store, stored)
    assert first.explain(values[:2]) == second.explain(values[:2])


def test_texts_and_missing_values_are_explained(store: FileStore) -> None:
    rng = np.random.default_rng(3)
    table = pl.DataFrame(
        {
            "origin": rng.choice(["EWR", "JFK", "LGA"], N),
            "distance": rng.normal(size=N),
            "seats": rng.integers(0, 9, N),
        }
    )
    label = (table["origin"] == "EWR").to_numpy() ^ (table["distance"] > 0).to_numpy()
    encoded = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["origin"]),
            ("numbers", StandardScaler(), ["distance", "seats"]),
        ]
    )
    model = make_pipeline(encoded, linear_model.LogisticRegression()).fit(table, label)
    stored = build(store, model, table, rng=np.random.default_rng(1))
    predict = load(store, stored).predict
    made = explainer(store, stored)
    given: Any = columns_of(table[:2], stored.signature)
    background_: Any = made._background
    names = stored.signature.names
    as_table = np.column_stack([np.asarray(background_[name], object) for name in names])

    def asked(mixed: Any) -> Any:
        return predict({name: mixed[:, at] for at, name in enumerate(names)})

    for at, one in enumerate(made.explain(given)):
        row = np.array([given[name][at] for name in names], object)
        np.testing.assert_allclose(one.contributions, shapley(asked, row, as_table), atol=1e-9)
        assert one.method == COALITIONS


def test_a_row_that_the_model_does_not_answer_has_no_contributions(store: FileStore) -> None:
    values = rows(5)
    stored = trained(store, LINEAR_MODELS["logistic"], values)
    missing, whole = explainer(store, stored).explain(np.vstack([np.full(5, np.nan), values[0]]))
    assert np.isnan([missing.score, *missing.contributions]).all()
    assert np.isfinite([whole.score, *whole.contributions]).all()


def test_a_version_without_a_background_says_what_to_do(store: FileStore) -> None:
    stored = trained(store, LINEAR_MODELS["ridge"], rows(5))
    older = msgspec.structs.replace(stored, background=None)
    with pytest.raises(Conflict, match="no background") as caught:
        explainer(store, older)
    assert "train it again" in str(caught.value.hint)


def test_a_structure_that_is_not_what_serves_is_not_believed(store: FileStore) -> None:
    values = rows(5)
    stored, other = (trained(store, TREE_MODELS[name], values) for name in ("boosted", "histogram"))
    mixed = msgspec.structs.replace(stored, onnx=other.onnx)
    (one,) = explainer(store, mixed, load(store, stored).predict).explain(values[:1])
    assert one.method == COALITIONS


def _together(predict: Any) -> Any:
    return lambda mixed: predict(np.ascontiguousarray(mixed))


def test_of_a_model_that_gives_more_the_score_is_explained(store: FileStore) -> None:
    values = rows(5)
    table = pl.DataFrame({f"x{at}": values[:, at] for at in range(5)})

    def gives(given: pl.DataFrame) -> Any:
        total = given.to_numpy().sum(axis=1)
        return {"score": total, "twice": 2 * total}

    stored = build(store, gives, table, kind="regression", rng=np.random.default_rng(1))
    assert [each.name for each in stored.signature.outputs] != []
    made = explainer(store, stored)
    (one,) = made.explain(values[:1])
    background_: Any = made._background
    np.testing.assert_allclose(one.contributions, values[0] - background_.mean(axis=0))
    assert one.base + sum(one.contributions) == pytest.approx(values[0].sum())
