"""How a version is made: the steps from dataset versions to what the gate judges.

Each method is a step of a pipeline, wired to the others by its parameters' names. What is
judged is what serves: the model is not fitted again on the rows that judged it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
from blake3 import blake3
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.control import sources
from setpoint.control.project import Project, active, call_by_name, function
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import plain
from setpoint.data import tables_delta
from setpoint.errors import Invalid
from setpoint.models import build, rowset
from setpoint.models.entities import ModelVersion, Stored
from setpoint.models.frames import columns_of
from setpoint.models.runtime import load
from setpoint.profiles.reference import DAY, WEEK, build_reference
from setpoint.runs.handle import Handle

ID, TIME, LABEL, SLICE = "@id", "@time", "@label", "@slice:"
_SPLIT = 20_260_101  #: never the training's seed: no version may have trained on test rows


class Made(Struct, frozen=True, kw_only=True):
    """Everything about a new version but its number."""

    stored: Stored
    rows: str  #: address of the ids it was trained on
    reference: str  #: address of the profile reference
    trained_on: int  #: rows
    tested_on: int


class Making:
    """The steps for one model at one moment."""

    def __init__(
        self,
        settings: Settings,
        project: Project,
        spec: Spec,
        *,
        known_by: datetime,
        run: Handle,
    ) -> None:
        self._settings = settings
        self._store: ObjectStore = open_store(settings)
        self._project = project
        self._spec = spec
        self._known_by = known_by
        self._run = run

    def table(self, datasets: Mapping[str, int], deltas: Mapping[str, int]) -> pl.DataFrame:
        """Return the rows whose label is known, with features as known at each row's time.

        Rows that are older than `privacy.retention` are left out.

        Columns: id, time, label, the columns that slices are made by, then the features.
        """
        del datasets  # the numbers people know; `deltas` are the same versions on disk
        spec = self._spec
        tables = {
            name: tables_delta.read(self._settings, name, version).collect()
            for name, version in deltas.items()
        }
        rows = self._labelled(tables[spec.data.rows])
        found = _columns(rows, spec)
        return pl.concat(
            [found, sources.features(self._project, spec, rows, tables)], how="horizontal"
        )

    def fitted(self, table: pl.DataFrame) -> Stored:
        """Return the model, trained on the rows before the test and stored."""
        return self._fit(table, self._spec.train.code)

    def baseline(self, table: pl.DataFrame) -> Stored | None:
        """Return the simple model to beat, trained on the same rows."""
        code = self._spec.train.baseline
        return None if code is None else self._fit(table, code)

    def scores(self, table: pl.DataFrame, fitted: Stored) -> NDArray[np.float64]:
        """Return the model's scores of the test rows."""
        return self.score(fitted, self.test(table))

    def made(self, table: pl.DataFrame, fitted: Stored, scores: NDArray[np.float64]) -> Made:
        """Return the version's artifacts: its training rows and its profile reference."""
        train, test = self.train(table), self.test(table)
        timed = self._spec.data.time is not None
        window = int(self._spec.watch.window.total_seconds())
        binary = self._spec.task == "classification"
        reference = build_reference(
            features_of(train),
            scores=scores,
            labels=test[LABEL].to_numpy() if binary else None,
            times=train[TIME] if timed else None,
            score_times=test[TIME] if timed else None,
            windows=tuple(sorted({window, DAY, WEEK})),
        )
        return Made(
            stored=fitted,
            rows=self._store.put(rowset.encode(train[ID])),
            reference=self._store.put(reference.encode()),
            trained_on=train.height,
            tested_on=test.height,
        )

    def train(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the rows before the test, of the last `train.window` if there is one."""
        return self._window(table.filter(~self._is_test(table)))

    def test(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that the gate judges on."""
        return table.filter(self._is_test(table))

    def score(self, stored: Stored | ModelVersion, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Return what a stored model answers on rows of the table."""
        with active(self._project):
            predictor = load(self._store, stored)
            found: NDArray[np.float64] = predictor.predict(
                columns_of(features_of(rows), stored.signature)
            )
            return found

    def _labelled(self, rows: pl.DataFrame) -> pl.DataFrame:
        spec, label = self._spec, self._spec.data.label
        if label.column not in rows.columns:
            raise Invalid(
                f"there is no label column {label.column!r} in {spec.data.rows!r}",
                where=self._project.where(spec, "data.label.column"),
                hint=f"there are: {', '.join(rows.columns[:12])}",
            )
        known = pl.col(label.column).is_not_null()
        if label.known_at is not None and label.known_at in rows.columns:
            known &= pl.col(label.known_at) <= self._known_by
        elif label.delay is not None and spec.data.time is not None:
            known &= pl.col(spec.data.time) + label.delay <= self._known_by
        if spec.privacy.retention is not None and spec.data.time is not None:
            known &= pl.col(spec.data.time) >= self._known_by - spec.privacy.retention
        found = rows.filter(known)
        if found.is_empty():
            raise Invalid(
                f"no row of {spec.data.rows!r} has a known label",
                where=self._project.where(spec, "data.label"),
            )
        return found if spec.data.time is None else found.sort(spec.data.time, maintain_order=True)

    def _is_test(self, table: pl.DataFrame) -> pl.Series:
        split = self._spec.train.split
        count = table.height
        if split.by == "time" and not isinstance(split.test, float):
            chosen = _since(table, split.test)
        elif split.by == "time" and isinstance(split.test, float):
            chosen = pl.Series(np.arange(count) >= round(count * (1 - split.test)))
        else:
            share = split.test if isinstance(split.test, float) else 0.2
            picked = np.random.default_rng(_SPLIT).random(count) < share
            chosen = pl.Series(picked)
        if not chosen.any() or chosen.all():
            raise Invalid(
                f"the split leaves {int(chosen.sum()):,} rows to test on and "
                f"{count - int(chosen.sum()):,} to train on",
                where=self._project.where(self._spec, "train.split.test"),
                hint="choose another length for train.split.test, or bring more rows",
            )
        return chosen

    def _fit(self, table: pl.DataFrame, code: str) -> Stored:
        train = self.train(table)
        features = features_of(train)
        available = {
            "rows": train,
            "features": features,
            "label": train[LABEL].alias(self._spec.data.label.column),
            "seed": self._spec.train.seed,
            "run": self._run,
        }
        model = call_by_name(self._function(code, "train"), available, name=code)
        with active(self._project):
            stored = build.build(
                self._store,
                model,
                features,
                kind=self._spec.task,
                rng=np.random.default_rng(self._spec.train.seed),
            )
        if stored.signature.outputs:
            raise Invalid(
                f"the {type(model).__name__} that {code} returned gives more than one number a row",
                hint="a spec holds yes/no classifiers and regressions to their objective; "
                "others are served all the same: setpoint models add",
            )
        return stored

    def _window(self, train: pl.DataFrame) -> pl.DataFrame:
        window = self._spec.train.window
        if window is None or self._spec.data.time is None:
            return train
        return train.filter(_since(train, window))

    def _function(self, code: str, key: str) -> Any:
        return function(self._project, code, where=self._project.where(self._spec, key))


def features_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the feature columns of rows of the table."""
    return rows.select(name for name in rows.columns if not name.startswith("@"))


def _since(rows: pl.DataFrame, last: timedelta) -> pl.Series:
    """Return which rows are of the last so long, counted back from the newest."""
    return rows.select(pl.col(TIME) > pl.col(TIME).max() - last).to_series()


def _columns(rows: pl.DataFrame, spec: Spec) -> pl.DataFrame:
    """Return id, time, label and slice columns."""
    data = spec.data
    identity: pl.Expr = pl.int_range(pl.len()).cast(pl.String)
    if data.entity is not None:
        identity = pl.col(data.entity).cast(pl.String)
    moment = pl.col(data.time) if data.time is not None else pl.lit(None, pl.Datetime("us", "UTC"))
    slices: Sequence[str] = spec.guardrails.slices.by if spec.guardrails.slices else ()
    try:
        return rows.select(
            identity.alias(ID),
            moment.alias(TIME),
            pl.col(data.label.column).cast(pl.Float64).alias(LABEL),
            *(pl.col(name).cast(pl.String).alias(SLICE + name) for name in slices),
        )
    except (
        pl.exceptions.ColumnNotFoundError,
        pl.exceptions.InvalidOperationError,
    ) as error:
        raise Invalid(
            f"a column that the spec of {spec.model!r} names cannot be used",
            where=str(error).splitlines()[0],
            hint="check data.entity, data.time, data.label and guardrails.slices.by",
        ) from None


def datasets_of(spec: Spec) -> list[str]:
    """Return the names of the datasets that a model is made from."""
    return sorted(spec.data.source)


def training_hash(spec: Spec, code: str, contracts: str) -> str:
    """Return the identity of what makes a version: the spec's parts that training reads.

    Two specs that differ in how a version is watched or released make the same versions.
    A fallback is part of a version, and so is how old its rows may be. What its contracts
    check is as well, since that decides which rows it learns from: it stands at the end,
    after ``+``.

    Args:
        spec: The spec.
        code: Hash of the code it names.
        contracts: Hash of what its contracts check, "" where it has none.
    """
    parts = [plain(spec.data), plain(spec.features), plain(spec.train), code]
    if spec.privacy.retention is not None:
        parts.append(f"retention: {spec.privacy.retention.total_seconds():g}")
    if spec.serve.fallback.use != "nothing":
        parts.append(f"fallback: {spec.serve.fallback.use}")
    made = "b3:" + blake3(msgspec.json.encode(parts, order="sorted")).hexdigest()
    return f"{made}+{contracts}" if contracts else made
