"""Boosted trees over columns of categories, against what their own libraries answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost

from setpoint.artifacts.files import FileStore
from setpoint.errors import Invalid
from setpoint.models.adding import stored
from setpoint.models.runtime import load

RNG = np.random.default_rng(0)
N = 400
CITIES = ["Zurich", "Aarau", "Bern", "Tokyo"]
FRAME = pd.DataFrame(
    {
        "size": RNG.normal(size=N),
        "city": pd.Categorical(RNG.choice(CITIES, N), categories=CITIES),
        "zone": pd.Categorical(RNG.choice([30, 7, 12], N)),
    }
)
FLIPS = FRAME["city"].isin(["Bern", "Tokyo"]) ^ (FRAME["zone"] == 12)
Y = ((FRAME["size"] > 0) ^ FLIPS).astype(int)
FEW: dict[str, Any] = {"n_estimators": 12, "n_jobs": 1}
MADE: dict[str, Callable[[], Any]] = {
    "lightgbm": lambda: lightgbm.LGBMClassifier(**FEW, verbose=-1, min_child_samples=5),
    "xgboost": lambda: xgboost.XGBClassifier(**FEW, enable_categorical=True),
}


def trained(name: str, frame: pd.DataFrame) -> Any:
    return MADE[name]().fit(frame, Y)


def told(frame: pd.DataFrame) -> pl.DataFrame:
    """Return a frame as a file has it: texts and numbers."""
    types = {"city": str, "zone": int}
    plain = frame.astype({name: types[name] for name in types if name in frame})
    return pl.DataFrame({name: plain[name].to_list() for name in plain})


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("column", ["city", "zone"])
def test_categories_are_texts_or_numbers_to_a_client(
    tmp_path: Path, name: str, column: str
) -> None:
    frame = FRAME[["size", column]]
    model = trained(name, frame)
    store = FileStore(tmp_path)
    held = stored(store, model, told(frame))
    assert held.onnx is None
    assert held.parity is not None
    assert "categories" in held.parity.why
    rows: Any = {each: told(frame)[each].to_numpy() for each in frame}
    if column == "zone":  # all numbers: a matrix
        rows = np.column_stack([rows["size"], rows["zone"].astype(float)])
    np.testing.assert_allclose(
        load(store, held).predict(rows), model.predict_proba(frame)[:, 1], rtol=1e-6
    )


@pytest.mark.parametrize("name", MADE)
def test_what_training_has_not_seen_is_missing(tmp_path: Path, name: str) -> None:
    frame = FRAME[["size", "city"]]
    model = trained(name, frame)
    store = FileStore(tmp_path)
    held = stored(store, model, told(frame))
    asked = pd.DataFrame({"size": [0.5], "city": pd.Categorical([None], categories=CITIES)})
    missing = model.predict_proba(asked)[:, 1]
    for city in ("Oslo", None):
        rows = {"size": np.array([0.5]), "city": np.array([city], object)}
        np.testing.assert_allclose(load(store, held).predict(rows), missing, rtol=1e-6)


def test_categories_that_are_not_ascii(tmp_path: Path) -> None:
    frame = FRAME[["size", "city"]]
    renamed = frame.assign(city=frame["city"].cat.rename_categories({"Tokyo": "東京"}))
    store = FileStore(tmp_path)
    held = stored(store, trained("lightgbm", renamed), told(renamed))
    rows = {"size": frame["size"].to_numpy(), "city": renamed["city"].astype(object).to_numpy()}
    same = trained("lightgbm", frame).predict_proba(frame)[:, 1]
    np.testing.assert_allclose(load(store, held).predict(rows), same, rtol=1e-6)
    with pytest.raises(Invalid, match="not ASCII"):
        stored(store, trained("xgboost", renamed), told(renamed))


@pytest.mark.parametrize("name", MADE)
def test_texts_that_are_no_categories_are_refused(tmp_path: Path, name: str) -> None:
    model = trained(name, FRAME[["size"]])
    with pytest.raises(Invalid, match="categories"):
        stored(FileStore(tmp_path), model, told(FRAME[["size", "city"]])[["city"]])


@pytest.mark.parametrize(
    ("file", "content"),
    [("m.txt", b"tree\nversion=v4\nnum_class=1\n"), ("m.ubj", b"{L\x00\x00learner{")],
)
def test_files_that_end_too_early_are_refused(tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(Invalid, match="cannot read the model"):
        stored(FileStore(tmp_path), tmp_path / file, told(FRAME[["size", "zone"]]))
