"""Asks the gate about a new version: from the words of a spec to the gate's questions."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.artifacts.contract import ObjectStore
from setpoint.control.making import ID, LABEL, SLICE, TIME, Making, features_of
from setpoint.control.project import Project, call_by_name, function
from setpoint.control.spec.entities import Spec
from setpoint.errors import UserCodeFailed
from setpoint.models.build import latency
from setpoint.models.entities import Gate, ModelVersion, Stored
from setpoint.models.frames import columns_of
from setpoint.models.gate import Cost, GateInput, Limit, Slices, evaluate_gate, metrics_of
from setpoint.models.intervals import Times
from setpoint.models.leakage import Leakage, examine
from setpoint.models.runtime import load

Floats = NDArray[np.float64]

_SHOWN = {
    "classification": ("roc_auc", "average_precision", "log_loss", "brier"),
    "regression": ("rmse", "mae", "r2"),
}


class Judged(Struct, frozen=True, kw_only=True):
    """What the gate says, and the numbers that a run shows."""

    gate: Gate
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that was just made, with what it is compared with."""

    fitted: Stored
    scores: Floats  #: of the test rows
    baseline: Stored | None
    live: ModelVersion | None


def judge(
    making: Making,
    project: Project,
    spec: Spec,
    objects: ObjectStore,
    table: pl.DataFrame,
    new: Candidate,
) -> Judged:
    """Return the gate's answers about `new`, on the test rows of `table`."""
    test = making.test(table)
    label = test[LABEL].to_numpy()
    objective, rails = spec.objective, spec.guardrails
    given = GateInput(
        metric=objective.metric,
        label=label,
        score=new.scores,
        times=_times(spec, test),
        confidence=objective.confidence,
        objective=Limit(at_least=objective.at_least, at_most=objective.at_most),
        baseline=_baseline(making, spec, test, new),
        live=making.score(new.live, test) if new.live else None,
        live_name=f"version {new.live.number}" if new.live else "live",
        slices=_slices(spec, test),
        calibration_at_most=rails.calibration_error.at_most if rails.calibration_error else None,
        leakage=_leakage(making, spec, table, test),
        parity=new.fitted.parity,
        latency=_latency(objects, new.fitted, test),
        latency_at_most=rails.latency_p99.at_most.total_seconds() if rails.latency_p99 else None,
        size=new.fitted.size,
        cost=_cost(making, project, spec, test, new),
    )
    shown = {objective.metric, *_SHOWN[spec.task]}
    return Judged(gate=evaluate_gate(given), metrics=metrics_of(given, sorted(shown)))


def _baseline(making: Making, spec: Spec, test: pl.DataFrame, new: Candidate) -> Floats | None:
    if new.baseline is None or spec.objective.better_than != "baseline":
        return None
    return making.score(new.baseline, test)


def _times(spec: Spec, test: pl.DataFrame) -> Times | None:
    """Return when each row was, in microseconds, where the split is by time."""
    if spec.train.split.by != "time" or TIME not in test.columns:
        return None
    return test[TIME].dt.epoch("us").to_numpy()


def _slices(spec: Spec, test: pl.DataFrame) -> Slices | None:
    wanted = spec.guardrails.slices
    if wanted is None:
        return None
    return Slices(
        by={name: test[SLICE + name].to_numpy() for name in wanted.by},
        limits={
            metric: Limit(at_least=bound.at_least, at_most=bound.at_most)
            for metric, bound in wanted.bounds.items()
        },
        least_rows=wanted.least_rows,
    )


def _leakage(making: Making, spec: Spec, table: pl.DataFrame, test: pl.DataFrame) -> Leakage:
    train = making.train(table)
    return examine(
        features_of(train),
        train[LABEL].to_numpy(),
        features_of(test),
        test[LABEL].to_numpy(),
        kind=spec.task,
        train_ids=train[ID] if spec.data.entity else None,
        test_ids=test[ID] if spec.data.entity else None,
    )


def _latency(objects: ObjectStore, fitted: Stored, test: pl.DataFrame) -> float:
    rows = columns_of(features_of(test.head(1)), fitted.signature)
    return latency(load(objects, fitted), rows)


def _cost(
    making: Making, project: Project, spec: Spec, test: pl.DataFrame, new: Candidate
) -> Cost | None:
    """Return the user's own measure, of this version and of the live one."""
    business = spec.business
    if business is None or new.live is None:
        return None
    code = function(project, business.code, where=project.where(spec, "business.code"))
    label = test[LABEL]

    def measured(scores: Floats) -> Floats:
        given = {"label": label, "score": pl.Series("score", scores), "rows": test}
        found = np.asarray(call_by_name(code, given, name=business.code), dtype=np.float64)
        if found.shape != (test.height,) or not np.isfinite(found).all():
            raise UserCodeFailed(
                f"{business.code} gave {found.shape} values for {test.height:,} rows, or some "
                "that are no number",
                where=project.where(spec, "business.code"),
                hint="return one finite number a row",
            )
        return found

    return Cost(
        name=business.metric,
        new=measured(new.scores),
        live=measured(making.score(new.live, test)),
        rise=business.must_not_rise,
        fall=business.must_not_fall,
    )
