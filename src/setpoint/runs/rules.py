"""What may be written to a run, and how runs differ, as pure functions."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from setpoint.errors import Conflict, Invalid
from setpoint.runs.entities import Difference, Lifecycle, Run, Status, Value

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")


class ParamChanged(Conflict):
    """A param has another value already."""

    def __init__(self, run: str, name: str, old: Value, new: Value) -> None:
        super().__init__(
            f"param {name!r} of run {run} is {old!r} already",
            hint="log what changes while a run goes on as a metric",
        )
        self.name, self.old, self.new = name, old, new


def check_id(run: str) -> None:
    """Refuse what cannot be a run's id.

    Raises:
        Invalid: If it is not 1 to 256 letters, digits or one of ``_ - . :``.
    """
    if not _ID.fullmatch(run):
        raise Invalid(
            f"{run[:80]!r} cannot be a run's id",
            hint="use 1 to 256 letters, digits, _ - . or :",
        )


def without_parents(old: Mapping[str, str | None], nested: Mapping[str, str]) -> set[str]:
    """Return which runs go: those that are old, but for those in which one that stays is nested.

    Args:
        old: The runs that may go, each with the run that it is nested in.
        nested: Every run that is nested in one of them, with the run that it is nested in.
    """
    going = set(old)
    staying = [parent for child, parent in nested.items() if child not in going]
    while staying:
        run = staying.pop()
        if run in going:
            going.discard(run)
            parent = old[run]
            staying += [parent] if parent is not None else []
    return going


def check_open(run: str, status: Status, lifecycle: Lifecycle, *, ended: bool) -> None:
    """Refuse to write to a run that is deleted, or that has ended unless `ended` is fine.

    Raises:
        Conflict: If it is so.
    """
    if lifecycle is Lifecycle.DELETED:
        raise Conflict(f"run {run} is deleted", hint="restore it first")
    if status.ended and not ended:
        raise Conflict(
            f"run {run} has {status}; what it measured stays as it is",
            hint="start another run, or add tags or artifacts to this one",
        )


def check_params(run: str, there: Mapping[str, Value], new: Mapping[str, Value]) -> None:
    """Refuse another value for a param that has one; the same text is the same value.

    Raises:
        ParamChanged: For the first such param.
    """
    for name, value in new.items():
        if name in there and str(there[name]) != str(value):
            raise ParamChanged(run, name, there[name], value)


def _code(run: Run) -> dict[str, Any]:
    if run.code is None:
        return {}
    return {
        "commit": run.code.commit,
        "diff": run.code.diff,
        "snapshot": run.code.snapshot,
    }


_KINDS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "param": lambda run: dict(run.params),
    "metric": lambda run: dict(run.metrics),
    "input": lambda run: dict(run.inputs),
    "tag": lambda run: dict(run.tags),
    "code": _code,
    "environment": lambda run: {"environment": run.environment},
}


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Return everything that is not the same in all `runs`, by kind and name.

    NaN equals NaN here: two runs whose metric is undefined do not differ in it.
    """
    found = []
    for kind, read in _KINDS.items():
        sides = [read(run) for run in runs]
        for name in sorted({name for side in sides for name in side}):
            values: list[Value] = [side.get(name) for side in sides]
            if any(not _same(values[0], value) for value in values[1:]):
                found.append(Difference(kind=kind, name=name, values=values))
    return found


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
