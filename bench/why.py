"""How long `why` takes on a million predictions, forwards and backwards, on SQLite."""

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.control.why import Why, trace
from setpoint.core.clock import to_micros
from setpoint.db.local import LocalBackend, open_local
from setpoint.models import rowset
from setpoint.models import service as models
from setpoint.models.entities import Gate, Signature
from setpoint.releases import service as releases
from setpoint.runs import service as runs
from setpoint.serve import store as serving
from setpoint.serve.entities import PredictionRow

NAME = "why"
_PREDICTIONS, _VERSIONS, _ROWS = 1_000_000, 50, 20_000
_LIMIT_MS = 10.0


def run() -> list[dict[str, Any]]:
    """Fill a store, time each question (wall clock, median); the ratio is of the 10 ms allowed."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        url = f"sqlite:///{home / 'setpoint.db'}"
        backend = open_local(Settings(home=home, database_url=url, actor="bench"))
        _fill(backend)
        asked = {
            "prediction to its causes": f"prd_{_PREDICTIONS // 2:08}",
            "version, with its predictions": f"late/{_VERSIONS}",
            f"row to {_VERSIONS} versions and 1M predictions": "row:7",
        }
        found = [_measured(backend, work, name) for work, name in asked.items()]
        backend.engine.dispose()
    return found


def _measured(backend: LocalBackend, work: str, name: str) -> dict[str, Any]:
    took = []
    for _ in range(30):
        began = time.perf_counter()
        backend.call(trace, Why(id=name))
        took.append((time.perf_counter() - began) * 1e3)
    ours = sorted(took)[len(took) // 2]
    return {"work": work, "ours": ours, "peer": None, "ratio": ours / _LIMIT_MS, "unit": "ms"}


def _fill(backend: LocalBackend) -> None:
    objects = open_store(backend.settings)
    for number in range(1, _VERSIONS + 1):
        begun = backend.call(runs.start, runs.Start(experiment="late"))
        made = models.Register(
            model="late",
            run_id=begun.id,
            why="bench",
            flavor="python",
            artifact=objects.put(f"model {number}".encode()),
            signature=Signature(inputs=[]),
            gate=Gate(checks=[], passed=True),
            rows=objects.put(rowset.encode([str(i) for i in range(number % 7, _ROWS)])),
        )
        backend.call(models.register, made)
    with backend.engine.begin() as conn:
        releases.start(backend.context(conn), releases.Start(model="late", version=_VERSIONS))
    at = to_micros(datetime.now(UTC))
    for start in range(0, _PREDICTIONS, 50_000):
        rows = [
            PredictionRow("late", f"prd_{i:08}", _VERSIONS, "live", at, 0.5)
            for i in range(start, start + 50_000)
        ]
        with backend.engine.begin() as conn:
            serving.insert_predictions(conn, rows)


if __name__ == "__main__":
    for line in run():
        sys.stdout.write(f"{line['work']:<45} {line['ours']:8.2f} {line['unit']}\n")
