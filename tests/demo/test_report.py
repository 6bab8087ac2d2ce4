"""The outcome of a replay is read from its store, whoever made it."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL

from setpoint.control.controller import Controller
from setpoint.db.local import LocalBackend
from setpoint.demo.flights_data import Replay
from setpoint.demo.report import peak_megabytes, report
from setpoint.serve import store as serving
from setpoint.serve.entities import PredictionRow

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def stream() -> Replay:
    """Twenty flights on the first of January, every other one late."""
    at = [NOON + timedelta(minutes=i) for i in range(20)]
    flights = pl.DataFrame(
        {
            "flight_id": [f"f{i:02}" for i in range(20)],
            "scheduled_departure": at,
            "known_at": [when + timedelta(hours=5) for when in at],
            "late": [i % 2 for i in range(20)],
            "a": np.linspace(-1, 1, 20),
            "b": np.zeros(20),
        }
    )

    def inputs(flights: pl.LazyFrame) -> list[pl.Expr]:
        del flights
        return [pl.col("a"), pl.col("b")]

    from setpoint.data.features import features  # noqa: PLC0415 - beside what it decorates

    view = features(on="flights")(inputs)
    return Replay({"flights": flights}, [view], NOON, NOON + timedelta(days=1))


def test_the_report_compares_what_was_answered_with_the_first_version(
    backend: LocalBackend, tmp_path: Path, stream: Replay
) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    truth = stream.truth()
    rows = [
        PredictionRow(MODEL, name, 1, "live", 0, 0.9 if late else 0.1)
        for name, late in zip(stream.ids(), truth, strict=True)
    ]
    with backend.engine.begin() as conn:
        serving.insert_predictions(conn, rows)
        serving.label_predictions(conn, MODEL, stream.ids(), truth.tolist(), NOON)
    found = report(backend, MODEL, stream, seconds=1.0, peak_memory_mb=2.0)
    assert (found.predictions, found.labels) == (20, 20)
    assert [(v.number, v.gate, v.rows) for v in found.versions] == [(1, "passed", 20)]
    assert found.releases == [], "the first version replaced nothing"
    assert found.quality.live == 1.0
    assert 0 < found.quality.never_retrained < 1
    assert [(m.month, m.rows) for m in found.quality.by_month] == [("Jan", 20)]
    assert found.events_verified


def test_memory_is_of_processes_that_live(backend: LocalBackend) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        check=True,
    )
    assert peak_megabytes([os.getpid()]) > 10
    assert peak_megabytes([int(gone.stdout)]) == 0.0
