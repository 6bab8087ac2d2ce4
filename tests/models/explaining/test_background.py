"""What is kept of the training rows, to compare with."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from setpoint.artifacts.files import FileStore
from setpoint.errors import Conflict, Invalid
from setpoint.models.build import build
from setpoint.models.entities import Input, Signature, Stored
from setpoint.models.explaining import background
from setpoint.models.explaining.explainer import explainer

NUMBERS = Signature(inputs=[Input(name=name, datatype="FP64") for name in ("a", "b")])
MIXED = Signature(
    inputs=[Input(name="a", datatype="FP64"), Input(name="city", datatype="BYTES")],
)


def test_a_version_keeps_a_hundred_of_its_training_rows(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    values = np.random.default_rng(1).normal(size=(6_000, 2))
    table = pl.DataFrame(values, schema=["a", "b"])
    model = LinearRegression().fit(values, values.sum(axis=1))

    def kept(seed: int) -> Stored:
        return build(store, model, table, kind="regression", rng=np.random.default_rng(seed))

    first, again, other = kept(1), kept(1), kept(2)
    assert first.background is not None
    assert first.background == again.background != other.background
    rows: Any = background.decode(store.get(first.background), first.signature)
    assert rows.shape == (100, 2)
    assert {tuple(row) for row in rows.tolist()} <= {tuple(row) for row in values.tolist()}
    assert len(store.get(first.background)) < 3_000


def test_rows_that_the_model_does_not_answer_are_not_kept() -> None:
    rows = np.arange(20.0).reshape(10, 2)
    scores = np.where(np.arange(10) % 2 == 0, np.nan, 1.0)
    kept = background.chosen(rows, NUMBERS, lambda _: scores, np.random.default_rng(0))
    assert kept is not None
    found: Any = background.decode(kept, NUMBERS)
    assert found[:, 0].tolist() == [2.0, 6.0, 10.0, 14.0, 18.0]
    none = background.chosen(rows, NUMBERS, lambda _: scores * np.nan, np.random.default_rng(0))
    assert none is None


def test_what_has_no_score_or_takes_tensors_says_that_it_cannot_be_explained() -> None:
    unscored = msgspec.structs.replace(NUMBERS, scored=False)
    image = Input(name="image", datatype="BYTES", raw=True)
    tensors = Signature(inputs=[*NUMBERS.inputs, image])
    for signature, why in ((unscored, "no score"), (tensors, "tensors or bytes: image")):
        rng = np.random.default_rng(0)
        assert background.chosen(np.ones((1, 2)), signature, lambda _: np.ones(1), rng) is None
        stored = Stored(flavor="python", artifact="b3:00", signature=signature)
        with pytest.raises(Conflict, match=f"cannot be explained: it .*{why}"):
            explainer(FileStore(Path()), stored)


def test_numbers_come_back_to_the_last_bit_and_missing_ones_missing() -> None:
    rows = np.array([[0.1, np.nan], [np.inf, -1e-300]])
    found: Any = background.decode(background.encode(rows, NUMBERS), NUMBERS)
    np.testing.assert_array_equal(found, rows)
    assert found.flags.c_contiguous


def test_texts_come_back_beside_numbers() -> None:
    rows = {"city": np.array(["Zürich", None], object), "a": np.array([1.0, np.nan])}
    found: Any = background.decode(background.encode(rows, MIXED), MIXED)
    assert found["city"].tolist() == ["Zürich", None]
    np.testing.assert_array_equal(found["a"], rows["a"])


def test_what_is_no_background_of_this_model_is_one_clear_error() -> None:
    data = background.encode(np.ones((2, 2)), NUMBERS)
    with pytest.raises(Invalid, match="other inputs"):
        background.decode(data, MIXED)
    with pytest.raises(Invalid, match="cannot be read"):
        background.decode(b"something", NUMBERS)
