"""Frameworks' own callbacks log into a run: the real frameworks, on small data."""

import warnings
from typing import Any

import lightgbm as lgb
import numpy as np
import optuna
import pytest
import xgboost as xgb
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier
from tests.sdk.reading import files, manifest, said, values

from setpoint.errors import Invalid, MissingExtra
from setpoint.sdk.tracked import Tracked

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = (X[:, 0] + 0.1 * RNG.normal(size=200) > 0).astype(int)
QUIET = {"verbosity": -1, "num_threads": 1}


def curve(run: Tracked, name: str) -> list[float]:
    found = values(run, name)
    assert [step for step, _ in found] == list(range(len(found)))
    return [value for _, value in found]


def test_lightgbm_logs_each_evaluation(offline: Tracked) -> None:
    train, held = lgb.Dataset(X[:150], Y[:150]), lgb.Dataset(X[150:], Y[150:])
    told: dict[str, Any] = {}
    lgb.train(
        {"objective": "binary", "metric": "auc", **QUIET},
        train,
        num_boost_round=5,
        valid_sets=[train, held],
        valid_names=["train", "held"],
        callbacks=[offline.callback("lightgbm"), lgb.record_evaluation(told)],
    )
    assert curve(offline, "held/auc") == pytest.approx(told["held"]["auc"])
    assert curve(offline, "train/auc") == pytest.approx(told["train"]["auc"])
    assert said(offline)[0]["objective"] == "binary"


def test_lightgbm_logs_cross_validation_with_its_spread(offline: Tracked) -> None:
    lgb.cv(
        {"objective": "binary", **QUIET},
        lgb.Dataset(X, Y),
        num_boost_round=3,
        nfold=3,
        callbacks=[offline.callback("lightgbm")],
    )
    assert len(curve(offline, "valid/binary_logloss")) == 3
    assert all(value > 0 for value in curve(offline, "valid/binary_logloss/stdv"))


def test_xgboost_logs_each_round(offline: Tracked) -> None:
    told: dict[str, Any] = {}
    train = xgb.DMatrix(X, Y)
    xgb.train(
        {"objective": "binary:logistic", "nthread": 1},
        train,
        num_boost_round=4,
        evals=[(train, "train")],
        evals_result=told,
        verbose_eval=False,
        callbacks=[offline.callback("xgboost")],
    )
    assert curve(offline, "train/logloss") == pytest.approx(told["train"]["logloss"])


def test_xgboost_says_where_it_stopped_early(offline: Tracked) -> None:
    noise = xgb.DMatrix(X[150:], 1 - Y[150:])
    model = xgb.train(
        {"objective": "binary:logistic", "nthread": 1},
        xgb.DMatrix(X[:150], Y[:150]),
        num_boost_round=50,
        evals=[(noise, "held")],
        early_stopping_rounds=2,
        verbose_eval=False,
        callbacks=[offline.callback("xgboost")],
    )
    assert said(offline)[1]["best_iteration"] == str(model.best_iteration)


def test_optuna_logs_trials_and_the_best_one(offline: Tracked) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        trial.suggest_categorical("kind", ["a", "b"])
        if trial.number == 1:
            raise optuna.TrialPruned
        return float(x**2)

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=5, callbacks=[offline.callback("optuna")])
    trials = [trial for trial in study.trials if trial.number != 1]
    assert values(offline, "value") == [(trial.number, trial.value) for trial in trials]
    assert [value for _, value in values(offline, "best")][-1] == study.best_value
    assert values(offline, "state/pruned") == [(1, 1.0)]
    assert len(values(offline, "params/x")) == 5
    assert said(offline)[1]["best_trial"] == str(study.best_trial.number)


def test_optuna_logs_several_objectives_apart(offline: Tracked) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.optimize(
        lambda trial: (trial.suggest_float("x", 0, 1), 2.0),
        n_trials=2,
        callbacks=[offline.callback("optuna")],
    )
    assert [value for _, value in values(offline, "value/1")] == [2.0, 2.0]


def test_scikit_learn_calls_back_while_it_fits(offline: Tracked) -> None:
    model = LogisticRegression(max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn says that callbacks are new
        model.set_callbacks(offline.callback("sklearn")).fit(X, Y)
    scores = curve(offline, "LogisticRegression/score")
    assert scores
    assert scores[-1] == pytest.approx(model.score(X, Y))
    assert said(offline)[0]["max_iter"] == 20


def test_scikit_learn_of_any_kind_is_logged_when_fitted(offline: Tracked) -> None:
    model = GradientBoostingClassifier(n_estimators=5).fit(X, Y)
    offline.callback("sklearn").fitted(model, X, Y)
    assert curve(offline, "loss") == pytest.approx(model.train_score_.tolist())
    assert curve(offline, "training/score") == [model.score(X, Y)]
    assert said(offline)[0]["n_estimators"] == 5
    counts = manifest(offline, "media/training/confusion/0-0.json")["counts"]
    assert sum(map(sum, counts)) == 200


def test_a_search_of_scikit_learn_leaves_its_candidates(offline: Tracked) -> None:
    search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2, None]}, cv=2).fit(X, Y)
    offline.callback("sklearn").fitted(search, X, Y)
    told = manifest(offline, "media/candidates/0-0.json")
    assert told["rows"] == 3
    assert "mean_test_score" in [column["name"] for column in told["columns"]]
    assert "max_depth" in said(offline)[1]["best_params"]
    assert "media/candidates/0-0.json" in files(offline)


def test_a_framework_that_is_misspelt_or_missing_is_told(offline: Tracked) -> None:
    with pytest.raises(Invalid, match="did you mean 'xgboost'"):
        offline.callback("xgbost")
    with pytest.raises(MissingExtra, match="pip install -U keras"):
        offline.callback("keras")
