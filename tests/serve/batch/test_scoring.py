"""Models that give more than a score, and take more than numbers, scored as a table."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tests.serve.made import Input, Raises, Sum, live

from setpoint.artifacts.files import FileStore
from setpoint.core.clock import to_micros
from setpoint.errors import Invalid, SetpointError
from setpoint.models import adding
from setpoint.models.runtime import load
from setpoint.serve.arms import Arm
from setpoint.serve.batch import scoring
from setpoint.serve.batch.entities import Asked, Plan
from setpoint.serve.batch.source import Table, files_at
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import BatchRecord, CountRecord, EndpointSettings
from setpoint.serve.sampling import is_sampled
from setpoint.serve.scoring import Part
from setpoint.serve.v2 import Rows

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def endpoint(predictor: Any, baseline: Any = None) -> Endpoint:
    arm = Arm(1, predictor, None if baseline is None else Arm(1, baseline))
    arm.warm()
    return Endpoint("m", 1, [live()], {1: arm})


def scored(found: Endpoint, table: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Return the output for a table that is scored at once."""
    table.write_parquet(folder / "t.parquet")
    asked = Asked(model="m", source=files_at(str(folder / "t.parquet")))
    plan = Plan(
        id="bat_1", asked=asked, model="m", version=1, rows=len(table), chunk=1_000, begun_at=NOW
    )
    rows = Table(asked, found.inputs)
    (frame,) = rows.chunks(0, len(table), 1_000)
    part = scoring.score(found, rows.rows(frame))
    return scoring.output(plan, found, frame, scoring.ids_of(plan, 0, frame), NOW, part)


def logged(found: Endpoint, part: Part, ids: list[str]) -> list[BatchRecord]:
    """Return the lines of the log that have rows."""
    lines = scoring.records(found, part, ids, "bat_1.0", NOW)
    return [line for line in lines if isinstance(line, BatchRecord)]


def test_a_classifier_of_several_classes_gives_label_and_probabilities(tmp_path: Path) -> None:
    iris = load_iris()
    names = np.array(["setosa", "versicolor", "virginica"])
    frame = pl.DataFrame(iris.data, schema=["a", "b", "c", "d"])
    model = LogisticRegression(max_iter=1000).fit(iris.data, names[iris.target])
    store = FileStore(tmp_path / "objects")
    found = endpoint(load(store, adding.stored(store, model, frame)))
    table = scored(found, frame, tmp_path)
    assert table.columns == [
        "prediction_id", "score", "label", "probabilities", "version", "at",
    ]  # fmt: skip
    np.testing.assert_array_equal(table["label"].to_numpy(), model.predict(iris.data))
    given = np.array(table["probabilities"].to_list())
    np.testing.assert_allclose(given, model.predict_proba(iris.data), atol=1e-6)
    np.testing.assert_allclose(table["score"], given.max(axis=1))
    assert scored(found, frame[:0], tmp_path).schema == table.schema


def test_texts_and_missing_values_are_those_of_a_request(tmp_path: Path) -> None:
    found = endpoint(Sum(inputs=[Input("a"), Input("city", "BYTES")]))
    table = pl.DataFrame({"city": ["Bern", None, "Chur"], "a": [1, 2, None], "other": [1, 2, 3]})
    assert scored(found, table, tmp_path)["score"].to_list() == [5.0, 2.0, None]
    categories = table.with_columns(pl.col("city").cast(pl.Categorical))
    assert scored(found, categories, tmp_path)["score"].to_list() == [5.0, 2.0, None]
    with pytest.raises(Invalid, match="the input 'city' is text, not Int64"):
        scored(found, table.with_columns(city=1).cast({"city": pl.Int64()}), tmp_path)


def test_a_baseline_answers_for_a_version_that_fails_and_the_output_says_so(
    tmp_path: Path,
) -> None:
    table = pl.DataFrame({"a": [1.0, 2.0], "b": [1.0, 1.0]})
    found = scored(endpoint(Raises(), Sum(100.0)), table, tmp_path)
    assert found["score"].to_list() == [200.0, 300.0]
    assert found["fallback"].to_list() == [True, True]
    with pytest.raises(SetpointError, match="the model 'm' failed: version 1: ZeroDivisionError"):
        scored(endpoint(Raises()), table, tmp_path)


def test_lines_of_the_log_have_every_row_once() -> None:
    found = endpoint(Sum(inputs=[Input("a"), Input("city", "BYTES")]))
    count = 12_345
    values = np.arange(float(count)).reshape(-1, 1)
    rows = Rows(count, values, {"city": ["x"] * count})
    part = scoring.score(found, rows)
    assert part is not None
    ids = [f"bat_1.{i}" for i in range(count)]
    lines = logged(found, part, ids)
    assert [i for line in lines for i in line.ids] == ids
    assert b"".join(line.values for line in lines) == values.tobytes()
    assert np.frombuffer(b"".join(line.scores for line in lines)).tolist() == list(
        np.arange(1.0, count + 1)
    )
    assert {line.at_us for line in lines} == {to_micros(NOW)}
    assert max(len(line.ids) for line in lines) <= 5_000
    assert all(len(line.ids) == len(line.roles) == len(line.texts["city"]) for line in lines)


def test_lines_of_the_log_lack_what_the_endpoint_redacts() -> None:
    arm = Arm(1, Sum(inputs=[Input("a"), Input("city", "BYTES")]))
    settings = EndpointSettings(redact=("city", "a"))
    found = Endpoint("m", 1, [live()], {1: arm}, settings)
    part = scoring.score(found, Rows(2, np.array([[41.5], [2.0]]), {"city": ["Ada", "Bo"]}))
    assert part is not None
    assert part.scores is not None
    assert part.scores.tolist() == [44.5, 4.0]
    (line,) = logged(found, part, ["x", "y"])
    assert line.texts == {"city": [None, None]}
    assert np.isnan(np.frombuffer(line.values)).all()
    assert line.redacted == ("a", "city")


def test_of_a_sampled_log_the_sample_is_written_down_and_the_rest_counted() -> None:
    settings = EndpointSettings(sample=0.1)
    found = Endpoint("m", 1, [live()], {1: Arm(1, Sum(inputs=[Input("a")]))}, settings)
    count = 12_345
    values = np.arange(float(count)).reshape(-1, 1)
    part = scoring.score(found, Rows(count, values, {}))
    assert part is not None
    ids = [f"bat_1.{i}" for i in range(count)]
    lines = logged(found, part, ids)
    inside = [i for i, name in enumerate(ids) if is_sampled(name, 0.1)]
    assert [name for line in lines for name in line.ids] == [ids[i] for i in inside]
    assert np.frombuffer(b"".join(line.values for line in lines)).tolist() == inside
    assert sum(line.unlogged for line in lines) == count - len(inside)
    assert {line.sample for line in lines} == {0.1}


def test_of_a_batch_that_is_not_in_the_sample_the_log_has_a_count() -> None:
    settings = EndpointSettings(sample=1e-9)
    found = Endpoint("m", 1, [live()], {1: Arm(1, Sum(inputs=[Input("a")]))}, settings)
    part = scoring.score(found, Rows(2, np.array([[1.0], [2.0]]), {}))
    assert part is not None
    (line,) = scoring.records(found, part, ["x", "y"], "bat_1.0", NOW)
    assert line == CountRecord(
        at_us=to_micros(NOW), model="m", version=1, role=3, requests=1, rows=2
    )


def test_what_a_baseline_answered_is_written_down_whole() -> None:
    settings = EndpointSettings(sample=1e-9)
    arm = Arm(1, Raises(), Arm(1, Sum(100.0)))
    arm.warm()
    found = Endpoint("m", 1, [live()], {1: arm}, settings)
    part = scoring.score(found, Rows(2, np.array([[1.0, 2.0], [2.0, 3.0]]), {}))
    assert part is not None
    (line,) = logged(found, part, ["x", "y"])
    assert (line.ids, line.failed, line.unlogged) == (["x", "y"], 1, 0)
