"""The inputs of a prediction are found in the log, wherever they are by now."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from setpoint.core.clock import from_micros
from setpoint.errors import Conflict, NotFound
from setpoint.serve import logged
from setpoint.serve.entities import Position, Prediction, Role
from setpoint.serve.log import LogWriter
from setpoint.serve.seal import seal

from .made import labelled, predicted, shadowed

AT = 5 * 86_400_000_000


def wanted(name: str, at_us: int = AT, model: str = "m") -> Prediction:
    return Prediction(
        model=model,
        id=name,
        version=1,
        role=Role.LIVE,
        at=from_micros(at_us),
        score=0.5,
        other_version=None,
        other_score=None,
        label=None,
        labelled_at=None,
    )


@pytest.fixture(params=["segments", "parquet"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A log with predictions, their shadows and labels, one of which was answered twice."""
    values: Any = np.array([[1.0, np.nan], [3.0, 4.0]])
    with_gap = {"values": values.tobytes(), "texts": {"city": ["Rome", None]}}
    writer = LogWriter(tmp_path)
    writer.append(predicted("p0", "failed", at_us=AT, status=500, failed=1, scores=b""))
    writer.append(shadowed("p1", "p2"))
    writer.append(msgspec.structs.replace(predicted("p1", "p2", at_us=AT), model="other"))
    writer.append(predicted("p1", "p2", at_us=AT, **with_gap))
    writer.append(predicted("p1", "p3", at_us=AT + 1))
    writer.append(predicted("p4", at_us=AT, columns=["c"], values=np.ones(1).tobytes(), texts={}))
    writer.append(labelled("p1"))
    writer.close()
    if request.param == "parquet":
        LogWriter(tmp_path).close()
        assert seal(tmp_path, Position(9, 0))
        assert not (tmp_path / "00000001.seg").exists()
    return tmp_path


def test_the_inputs_are_those_it_was_answered_for(log: Path) -> None:
    for one, inputs in (
        (wanted("p2"), {"a": 3.0, "b": 4.0, "city": None}),
        (wanted("p1", AT + 1), {"a": 0.0, "b": 1.0, "city": "Zürich"}),
    ):
        found = logged.of(log, one).inputs
        assert {name: found[name] for name in inputs} == inputs


def test_a_missing_number_is_nan_and_a_missing_text_none(log: Path) -> None:
    found = logged.of(log, wanted("p1")).inputs
    assert (found["a"], found["city"]) == (1.0, "Rome")
    assert np.isnan(found["b"])  # type: ignore[arg-type]


def test_gaps_of_files_sealed_as_nan_are_found_too(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    values, gap = np.array([[1.0, np.nan]]).tobytes(), np.array([np.nan]).tobytes()
    writer.append(predicted("p1", at_us=AT, values=values))
    writer.append(predicted("p2", at_us=AT, values=values, scores=gap))
    writer.close()
    LogWriter(tmp_path).close()
    (path,) = seal(tmp_path, Position(9, 0))
    numbers = pl.col("score", "feature_a", "feature_b")
    for table in (
        pl.read_parquet(path),
        pl.read_parquet(path).with_columns(numbers.fill_null(np.nan)),
    ):
        table.write_parquet(path)
        for name in ("p1", "p2"):
            found = logged.of(tmp_path, wanted(name)).inputs
            assert found["a"] == 1.0
            assert np.isnan(found["b"])  # type: ignore[arg-type]


def test_what_was_not_answered_or_is_of_another_model_is_not_found(log: Path) -> None:
    for one in (wanted("failed"), wanted("p9"), wanted("p1", AT + 7), wanted("p1", model="none")):
        with pytest.raises(NotFound, match="are not in the log") as caught:
            logged.of(log, one)
        assert "serve.log.keep" in str(caught.value.hint)


def test_a_prediction_logged_without_its_personal_inputs_is_not_taken_for_one_with_gaps(
    tmp_path: Path,
) -> None:
    writer = LogWriter(tmp_path)
    gaps = {"values": np.full((1, 2), np.nan).tobytes(), "redacted": ("a", "city")}
    writer.append(predicted("p1", at_us=AT, **gaps, texts={"city": [None]}))
    writer.append(predicted("p2", at_us=AT))
    writer.close()
    with pytest.raises(Conflict, match="'p1' was logged without a, city"):
        logged.of(tmp_path, wanted("p1"))
    LogWriter(tmp_path).close()
    seal(tmp_path, Position(9, 0))
    with pytest.raises(Conflict, match="'p1' was logged without a, city"):
        logged.of(tmp_path, wanted("p1"))
    assert logged.of(tmp_path, wanted("p2")).inputs["a"] == 0.0


def test_a_prediction_logged_without_an_output_has_all_of_its_inputs(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append(predicted("p1", at_us=AT, redacted=("label",)))
    writer.close()
    before = logged.of(tmp_path, wanted("p1"))
    LogWriter(tmp_path).close()
    seal(tmp_path, Position(9, 0))
    assert before == logged.of(tmp_path, wanted("p1"))
    assert before.inputs == {"a": 0.0, "b": 1.0, "city": "Zürich"}
