"""A registered version with predictions in log and index, as a server leaves them."""

from typing import Any

import msgspec
import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from setpoint.artifacts.store import open_store
from setpoint.core.clock import to_micros
from setpoint.db.local import LocalBackend
from setpoint.models import service as models
from setpoint.models.build import build
from setpoint.models.entities import ModelVersion
from setpoint.models.runtime import load
from setpoint.serve import rules
from setpoint.serve import store as serving
from setpoint.serve.entities import PredictionRecord
from setpoint.serve.log import LogWriter

NAMES = ["distance", "gusts", "seats"]
ROWS = pl.DataFrame(np.random.default_rng(2).normal(size=(200, 3)), schema=NAMES)
LATE = (ROWS["distance"] * ROWS["gusts"] + ROWS["seats"]).to_numpy()


class Answers:
    """A version of ``late`` with a baseline, and predictions that it answered."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend, self.objects = backend, open_store(backend.settings)
        self.writer = LogWriter(backend.settings.log)
        self.version = self.registered("late")

    def registered(self, model: str, **changed: Any) -> ModelVersion:
        rng = np.random.default_rng(3)
        forest = RandomForestRegressor(5, random_state=0).fit(ROWS.to_numpy(), LATE)
        line = LinearRegression().fit(ROWS.to_numpy(), LATE)
        held, baseline = (
            build(self.objects, one, ROWS, kind="regression", rng=rng) for one in (forest, line)
        )
        fields = {**msgspec.structs.asdict(held), "baseline": baseline, **changed}
        command = models.Register(model=model, run_id="run_1", why="first", **fields)
        return self.backend.call(models.register, command)

    def answered(self, name: str, row: list[float], role: int = 0, **changed: Any) -> float:
        version = self.version.baseline if role == 2 else self.version
        assert version is not None
        scores = load(self.objects, version).predict(np.array([row]))
        fields: dict[str, Any] = {
            "at_us": to_micros(self.backend.clock.now()),
            "model": "late",
            "request_id": "req_1",
            "ids": [name],
            "versions": [1],
            "roles": bytes([role]),
            "columns": NAMES,
            "values": np.array(row).tobytes(),
            "scores": scores.tobytes(),
        }
        record = PredictionRecord(**(fields | changed))
        self.writer.append(record)
        with self.backend.engine.begin() as conn:
            generations = serving.generations(conn)
            if record.model not in generations:
                serving.deploy(conn, record.model, [])
            serving.insert_predictions(conn, rules.index_rows(record))
        return float(scores[0])
