"""Whether a version may serve: every question asked of it, with the evidence.

Two kinds of bounds. What is *promised* (the objective, being better than the baseline) has
to be shown: the interval's worse end must reach the bound, so a version whose true value
misses it passes with probability 1 − confidence at most. What must *not break* (slices,
calibration, the live version's quality, costs) must not be seen broken: slices and
calibration by their value, with the interval beside it; a comparison with the live version
fails only if it is shown to be worse, because equally good versions must be able to follow
each other.

Where rows have a time, intervals are by blocks of it, because neighbours fail together (one
storm, many late flights); see `intervals`. There are two exceptions. That of the calibration
error takes rows as independent. And better than the baseline has to be shown on the days of
the held-out rows only, as if rows were independent: two weeks can seldom show it for all
days (decision 19). The interval beside it is the one for all days, and must not show the
contrary.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.models.calibration import calibration_error
from setpoint.models.entities import Check, Gate, Parity
from setpoint.models.intervals import Estimate, Times, estimate, improvement, mean_change
from setpoint.models.leakage import Leakage
from setpoint.models.metrics import LOSSES, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A floor, a ceiling, or both."""

    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """Parts of the held-out rows in which metrics must hold as well."""

    by: Mapping[str, NDArray[Any]]  #: column name: [n] value of each row
    limits: Mapping[str, Limit]  #: metric: its limit in every slice
    least_rows: int = 100  #: smaller slices are not judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The user's own measure, a number a row, of this version and of the live one."""

    name: str
    new: Floats  #: [n]
    live: Floats  #: [n] on the same rows
    rise: float | None = None  #: how much it may rise, as a share
    fall: float | None = None  #: how much it may fall


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """Everything a version is judged on; what is None is not asked."""

    metric: str
    label: Floats  #: [n] truth of the held-out rows
    score: Floats  #: [n] this version's
    times: Times | None = None  #: [n] when each row was; None: rows are independent
    confidence: float = 0.95  #: of each bound
    objective: Limit = field(default_factory=Limit)
    baseline: Floats | None = None  #: [n] scores of the simple model to beat
    live: Floats | None = None  #: [n] scores of the version that serves now
    live_name: str = "live"
    slices: Slices | None = None
    calibration_at_most: float | None = None
    leakage: Leakage | None = None
    parity: Parity | None = None
    latency: float | None = None  #: seconds, see `build.latency`
    latency_at_most: float | None = None
    size: int | None = None  #: bytes
    size_at_most: int | None = None
    cost: Cost | None = None


def evaluate_gate(given: GateInput) -> Gate:
    """Return every check with its evidence; the gate passes if all of them do.

    20,000 rows with baseline, live version and 20 slices take about 60 ms.
    """
    finite = np.isfinite(given.score)
    checks = [_valid(finite)]
    if finite.all():
        checks += [
            *_objective(given),
            *_comparisons(given),
            *_slices(given),
            *_calibration(given),
            *_cost(given),
        ]
    checks += [*_leakage(given), *_parity(given), *_budgets(given)]
    return Gate(checks=checks, passed=all(check.passed for check in checks))


def metrics_of(given: GateInput, names: Iterable[str]) -> dict[str, float]:
    """Return the values of metrics on the held-out rows; NaN where one is not defined."""
    held = {"label": given.label, "score": given.score, "confidence": given.confidence}
    if not np.isfinite(given.score).all():
        return {name: float("nan") for name in names}
    return {name: estimate(name, **held).value for name in names}  # type: ignore[arg-type]


def _valid(finite: NDArray[np.bool_]) -> Check:
    bad = int((~finite).sum())
    detail = f"{bad:,} of {finite.size:,} outputs are no number" if bad else ""
    if not finite.size:
        detail = "there are no held-out rows"
    return Check(
        name="valid outputs",
        passed=bad == 0 and finite.size > 0,
        value=float(bad),
        bound=0.0,
        detail=detail,
    )


def _objective(given: GateInput) -> Iterator[Check]:
    found = estimate(
        given.metric,
        given.label,
        given.score,
        confidence=given.confidence,
        times=given.times,
    )
    limit = given.objective
    low_ok = limit.at_least is None or found.low >= limit.at_least
    high_ok = limit.at_most is None or found.high <= limit.at_most
    bound = limit.at_most if given.metric in LOSSES else limit.at_least
    if not found.defined:
        detail = f"{given.metric} is not defined: all {found.rows:,} labels are the same"
    elif low_ok and high_ok:
        detail = f"{given.metric} on {found.rows:,} rows"
    else:
        missed = limit.at_most if low_ok else limit.at_least
        detail = f"not shown to reach {missed:g} on {found.rows:,} rows"
    yield _check("objective", found, bound, detail, holds=found.defined and low_ok and high_ok)


def _comparisons(given: GateInput) -> Iterator[Check]:
    if given.baseline is not None:
        found = _versus(given, given.baseline, given.times)
        here = found if given.times is None else _versus(given, given.baseline, None)
        better = here.defined and here.low > 0 and found.high > 0
        words = "better" if better else "not shown to be better"
        detail = f"{given.metric}: {words}, on the same {found.rows:,} rows"
        if better and found.low <= 0:
            detail += "; not shown for other days"
        yield _check("better than baseline", found, 0.0, detail, holds=better)
    if given.live is not None:
        found = _versus(given, given.live, given.times)
        worse = found.defined and found.high < 0
        shown = "worse" if worse else "better" if found.low > 0 else "no worse"
        detail = f"{given.metric}: {shown} than {given.live_name}"
        yield _check("not worse than live", found, 0.0, detail, holds=not worse)


def _versus(given: GateInput, other: Floats, times: Times | None) -> Estimate:
    good = np.isfinite(other)  # where the other has no answer there is nothing to compare
    return improvement(
        given.metric,
        given.label[good],
        given.score[good],
        other[good],
        confidence=given.confidence,
        times=None if times is None else times[good],
    )


def _slices(given: GateInput) -> Iterator[Check]:
    """Yield one check for each metric and column: its worst slice."""
    slices = given.slices
    if slices is None:
        return
    for column, values in slices.by.items():
        parts = {
            str(value): values == value for value in sorted(set(values.tolist()) - {None}, key=str)
        }
        judged = {name: at for name, at in parts.items() if at.sum() >= slices.least_rows}
        for metric, limit in slices.limits.items():
            yield _worst_slice(given, column, judged, metric, limit, len(parts))


def _worst_slice(
    given: GateInput,
    column: str,
    parts: Mapping[str, NDArray[np.bool_]],
    metric: str,
    limit: Limit,
    all_parts: int,
) -> Check:
    found = {
        name: estimate(
            metric,
            given.label[at],
            given.score[at],
            confidence=given.confidence,
            times=None if given.times is None else given.times[at],
        )
        for name, at in parts.items()
    }
    found = {name: each for name, each in found.items() if each.defined}
    skipped = all_parts - len(found)
    left_out = f"; {skipped} too small to judge" if skipped else ""
    title = f"slices by {column}: {metric}"
    if not found:
        return Check(name=title, passed=True, detail=f"no slice has enough rows{left_out}")
    sign = -1.0 if metric in LOSSES else 1.0
    name, worst = min(found.items(), key=lambda each: sign * each[1].value)
    broken = [n for n, each in found.items() if not _inside(each.value, limit)]
    bound = limit.at_least if limit.at_least is not None else limit.at_most
    detail = f"worst of {len(found)}: {column}={name} ({worst.rows:,} rows){left_out}"
    if len(broken) > 1:
        detail += f"; beyond the limit: {', '.join(broken[:10])}"
    return _check(title, worst, bound, detail, holds=not broken)


def _inside(value: float, limit: Limit) -> bool:
    above = limit.at_least is None or value >= limit.at_least
    return above and (limit.at_most is None or value <= limit.at_most)


def _calibration(given: GateInput) -> Iterator[Check]:
    most = given.calibration_at_most
    if most is None:
        return
    found = calibration_error(given.label, given.score, confidence=given.confidence)
    detail = f"on {found.rows:,} rows, corrected for chance"
    yield _check("calibration error", found, most, detail, holds=found.value <= most)


def _cost(given: GateInput) -> Iterator[Check]:
    cost = given.cost
    if cost is None:
        return
    found = mean_change(cost.new, cost.live, confidence=given.confidence, times=given.times)
    risen = cost.rise is not None and found.low > cost.rise
    fallen = cost.fall is not None and found.high < -cost.fall
    bound = cost.rise if cost.rise is not None else -(cost.fall or 0.0)
    detail = f"mean {cost.new.mean():.4g}, with {given.live_name} {cost.live.mean():.4g}"
    yield _check(cost.name, found, bound, detail, holds=not (risen or fallen))


def _leakage(given: GateInput) -> Iterator[Check]:
    found = given.leakage
    if found is None:
        return
    name, how = found.strongest
    detail = found.why or (f"strongest feature alone: {name}" if name else "")
    yield Check(name="leakage", passed=not found.why, value=how, detail=detail)


def _parity(given: GateInput) -> Iterator[Check]:
    """Yield the parity check: a version without parity is served by its native model."""
    found = given.parity
    if found is None:
        return
    served = f"compiled, compared on {found.rows:,} rows"
    if not found.held:
        served = f"the native model serves: {found.why}"
    yield Check(
        name="parity",
        passed=True,
        value=found.max_difference if found.held else None,
        detail=served,
    )


def _budgets(given: GateInput) -> Iterator[Check]:
    if given.latency is not None:
        most = given.latency_at_most
        yield Check(
            name="latency",
            passed=most is None or given.latency <= most,
            value=given.latency,
            bound=most,
            detail="seconds of CPU for one row, 99th percentile",
        )
    if given.size is not None:
        most = given.size_at_most
        yield Check(
            name="size",
            passed=most is None or given.size <= most,
            value=float(given.size),
            bound=most,
            detail="bytes",
        )


def _check(name: str, found: Estimate, bound: float | None, detail: str, *, holds: bool) -> Check:
    return Check(
        name=name,
        passed=holds,
        value=_finite(found.value),
        low=_finite(found.low),
        high=_finite(found.high),
        bound=bound,
        detail=detail,
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
