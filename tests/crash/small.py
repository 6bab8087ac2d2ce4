"""A small project, and the demo's own replay of it.

In a few seconds everything happens that happens to a model: alarms, a retrain, a release
through shadow and canary, a candidate forced past its gate and rolled back.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from setpoint.control import sources
from setpoint.control.project import Project, load
from setpoint.demo.flights_data import Replay
from setpoint.demo.story import Story
from setpoint.serve.client import Answer, Inference

MODEL = "small"
START = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = 64
UNTIL = START + timedelta(hours=HOURS)
SABOTAGE = START + timedelta(hours=46)
END = UNTIL + timedelta(days=2)

_SPEC = """
model: small
data:
  source: small:rows
  label: {column: y, known_at: known_at}
  entity: id
  time: at
train:
  code: small:train
  baseline: small:baseline
  split: {by: time, test: 15%}
  window: 3d
  seed: 3
objective: {metric: roc_auc, at_least: 0.6, better_than: baseline}
release:
  shadow: {for: 60 requests}
  canary:
    steps: [25%, 100%]
    at_most: 14h
    false_rollback: 5%
    block: 15m
    loss_margin: 10%
    inconclusive: promote
watch: {window: 6h, alarm_budget: 1/day}
react: {drift: alarm, quality: retrain, stale: {after: 30h}, retrain: {at_most: 1/day}}
"""

_CODE = '''
import functools
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE, HOURS, A_DAY, AN_HOUR = 10, 64, 200, 40


@functools.cache
def everything():
    """10 days with 200 rows each, then 64 hours with 40 each; x1 soon matters more, x3 shifts."""
    rng = np.random.default_rng(5)
    days = [START - timedelta(days=BEFORE) + timedelta(days=d) for d in range(BEFORE)]
    at = [day + timedelta(minutes=7 * i) for day in days for i in range(A_DAY)]
    hours = [START + timedelta(hours=h) for h in range(HOURS)]
    at += [hour + timedelta(seconds=90 * i) for hour in hours for i in range(AN_HOUR)]
    n = len(at)
    x = rng.normal(size=(n, 4))
    late = np.arange(n) > BEFORE * A_DAY + 4 * AN_HOUR
    x[late, 3] += 1.0
    logit = 1.8 * x[:, 0] + np.where(late, 2.4, 1.0) * x[:, 1] + 0.4 * x[:, 2]
    y = rng.random(n) < 1 / (1 + np.exp(-logit))
    known = rng.random(n) < 0.97
    rows = pl.DataFrame({f"x{i}": x[:, i] for i in range(4)}).with_columns(
        id=pl.format("r{}", pl.int_range(n)),
        at=pl.Series(at, dtype=pl.Datetime("us", "UTC")),
        y=pl.when(pl.Series(known)).then(pl.Series(y).cast(pl.Int8)),
    )
    return rows.with_columns(known_at=pl.col("at") + pl.duration(minutes=70))


def rows(now):
    return everything().filter(pl.col("known_at") <= now)


def train(features, label, seed):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(random_state=seed).fit(features.to_numpy(), label.to_numpy())


def train_wrong(features, label, seed):
    return train(features, 1 - label, seed)


def baseline(features, label, seed):
    alone = features.with_columns(x1=0.0, x2=0.0, x3=0.0)
    return train(alone, label, seed)
'''


class Rows(Replay):
    """The rows of the small project, asked as the flights are."""

    def __init__(self, table: pl.DataFrame) -> None:
        rows = table.filter((pl.col("at") >= START) & (pl.col("at") < UNTIL)).sort("at", "id")
        features = rows.select("x0", "x1", "x2", "x3")
        known = rows.drop_nulls("y").sort("known_at", "id")
        self.columns = features.columns
        self._features = features.to_numpy()
        self._ids = rows["id"]
        self._times = rows["at"].dt.epoch("us").to_numpy()
        self._late = rows["y"].cast(pl.Float64)
        self._truth_ids = known["id"]
        self._truths = known["y"].cast(pl.Float64).to_numpy()
        self._known = known["known_at"].dt.epoch("us").to_numpy()


class Acknowledged(Inference):
    """Writes down what the server acknowledged, after it did."""

    def __init__(self, url: str, notes: Path) -> None:
        super().__init__(url)
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def predict_matrix(
        self, model: str, matrix: Any, *, ids: Sequence[str] | None = None
    ) -> Answer:
        answer = super().predict_matrix(model, matrix, ids=ids)
        self._note(["p", answer.ids, answer.versions, answer.scores])
        return answer

    def label(self, model: str, ids: Sequence[str], labels: Sequence[float | str]) -> None:
        super().label(model, ids, labels)
        self._note(["l", list(ids), list(labels)])

    def _note(self, line: list[Any]) -> None:
        os.write(self._notes, msgspec.json.encode(line) + b"\n")


class Small(Story):
    """The replay of the small project."""

    model = MODEL
    start = START
    end = UNTIL + timedelta(days=1)  # the labels after UNTIL are not told
    bad_code = "small:train_wrong"

    def make_project(self, folder: Path, seed: int) -> Project:  # noqa: ARG002
        return small_project(folder)

    def begin(self, inference: str) -> None:
        super().begin(inference)
        notes = self.home.settings.home / "acknowledged"
        self._inference = Acknowledged(inference, notes)

    def load(self) -> Replay:
        table = sources.table(self.project, self.spec, self.spec.data.rows, END)
        self.stream = Rows(table.collect())
        return self.stream


def small_project(folder: Path) -> Project:
    """Write the project into `folder`, unless it is there, and load it."""
    if not folder.exists():
        aside = folder.with_name(".project")
        aside.mkdir(exist_ok=True)
        (aside / "small.setpoint.yaml").write_text(_SPEC, encoding="utf-8")
        (aside / "small.py").write_text(_CODE, encoding="utf-8")
        aside.rename(folder)
    return load(folder)
