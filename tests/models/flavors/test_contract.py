"""Flavors that come with Setpoint pass the contract of all flavors, and others can be brought."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import xgboost
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression

from setpoint.models.flavors.registry import flavor
from setpoint.testing.flavors import FlavorContract


def label(rows: pl.DataFrame, classes: int = 2) -> Any:
    total = rows.sum_horizontal().to_numpy()
    return np.digitize(total, [0.0] if classes == 2 else [-1.0, 1.0])


class TestSklearn(FlavorContract):
    flavor = flavor("sklearn")

    def model(self) -> Any:
        return LogisticRegression().fit(self.rows().to_numpy(), label(self.rows()))

    def expected(self, model: Any, rows: pl.DataFrame) -> Any:
        return model.predict_proba(rows.to_numpy())


class TestSeveralClasses(TestSklearn):
    def model(self) -> Any:
        return LogisticRegression().fit(self.rows().to_numpy(), label(self.rows(), 3))


class TestRegression(TestSklearn):
    kind = "regression"

    def model(self) -> Any:
        rows = self.rows().to_numpy()
        return RandomForestRegressor(5, random_state=0).fit(rows, rows.sum(axis=1))

    def expected(self, model: Any, rows: pl.DataFrame) -> Any:
        return model.predict(rows.to_numpy())


class TestLightGBM(TestSklearn):
    flavor = flavor("lightgbm")

    def model(self) -> Any:
        made = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)
        return made.fit(self.rows().to_numpy(), label(self.rows()))


class TestXGBoost(TestSklearn):
    flavor = flavor("xgboost")

    def model(self) -> Any:
        made = xgboost.XGBClassifier(n_estimators=5, n_jobs=1)
        return made.fit(self.rows().to_numpy(), label(self.rows()))


class TestLightGBMOfSeveralClasses(TestLightGBM):
    def model(self) -> Any:
        made = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)
        return made.fit(self.rows().to_numpy(), label(self.rows(), 3))


class TestXGBoostOfSeveralClasses(TestXGBoost):
    def model(self) -> Any:
        made = xgboost.XGBClassifier(n_estimators=5, n_jobs=1)
        return made.fit(self.rows().to_numpy(), label(self.rows(), 3))


class Mine:
    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def predict(self, frame: Any) -> Any:
        return frame.to_numpy() @ self.weights


class TestPython(FlavorContract):
    flavor = flavor("python")
    kind = "any"

    def model(self) -> Any:
        return Mine(np.arange(4.0))

    def expected(self, model: Any, rows: pl.DataFrame) -> Any:
        return model.predict(rows)


BROUGHT = '''
import json

class Weights(list):
    """What a package of somebody's trains."""

class Flavor:
    def detect(self, model):
        return isinstance(model, Weights)

    def save(self, model):
        return json.dumps(model).encode()

    def load(self, data, signature):
        weights = json.loads(data)
        return lambda rows: rows @ weights

    def to_onnx(self, data, signature):
        from setpoint.models.flavors.errors import Uncompilable
        raise Uncompilable("nobody wrote that")
'''
ASK = """
import sys, numpy as np, setpoint as sp
from mine import Weights
from setpoint.artifacts.store import open_store
from setpoint.config import settings
from setpoint.models.runtime import load
made = sp.add_model("w", Weights([1.0, 2.0]), example=np.ones((3, 2)), home=sys.argv[1])
found = load(open_store(settings(sys.argv[1])), made).predict(np.ones((3, 2)))
print(made.flavor, found.tolist(), made.parity.why)
"""


def test_a_package_brings_a_flavor_by_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROUGHT)
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[setpoint.flavors]\nweights = mine:Flavor\n")
    out = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path / "home")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.stdout.split() == ["weights", "[3.0,", "3.0,", "3.0]", "nobody", "wrote", "that"], (
        out
    )
