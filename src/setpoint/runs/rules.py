"""How runs differ, as a pure function."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from setpoint.runs.entities import Difference, Run, Value


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
