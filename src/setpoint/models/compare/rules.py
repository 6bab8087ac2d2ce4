"""What differs between two versions: values in, differences out."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from setpoint.models.entities import Check, ModelVersion
from setpoint.runs.entities import Code, Run, Value

_MEASURED = {"latency", "size"}  #: checks that have a line of their own


class Change(Struct, frozen=True, kw_only=True):
    """One thing that is not the same in both versions."""

    kind: str  #: param, metric, check, data, code, input, form, size or latency
    name: str
    was: Value = None  #: in the first version; None: it has no such thing
    now: Value = None  #: in the second
    detail: str = ""  #: the intervals of a check, where it has them


def changes(
    first: ModelVersion, second: ModelVersion, one: Run | None, other: Run | None
) -> list[Change]:
    """Return what differs between two versions, and between the runs that made them.

    Args:
        first: A version.
        second: Another one, of the same model or not.
        one: The run of the first; None: it is not known here.
        other: The run of the second.
    """
    return [
        *_of("param", one.params if one else {}, other.params if other else {}),
        *_of("data", first.datasets, second.datasets),
        *_of("code", _code(one.code if one else None), _code(other.code if other else None)),
        *_of("input", _inputs(first), _inputs(second)),
        *_of("metric", first.metrics, second.metrics),
        *_checks(first, second),
        *_of("form", _form(first), _form(second)),
        *_of("size", {"bytes": first.size}, {"bytes": second.size}),
        *_of("latency", _latency(first), _latency(second)),
    ]


def _of(kind: str, was: Mapping[str, Value], now: Mapping[str, Value]) -> Iterator[Change]:
    for name in sorted({*was, *now}):
        before, after = was.get(name), now.get(name)
        same = before == after or (before != before and after != after)  # noqa: PLR0124 - NaN
        if not same:
            yield Change(kind=kind, name=name, was=before, now=after)


def _checks(first: ModelVersion, second: ModelVersion) -> Iterator[Change]:
    """Yield the checks of the gates, slices among them, whose values or verdicts differ."""
    was, now = _by_name(first), _by_name(second)
    for name in sorted({*was, *now} - _MEASURED):
        before, after = was.get(name), now.get(name)
        if _said(before) != _said(after):
            yield Change(
                kind="check",
                name=name,
                was=_answer(before),
                now=_answer(after),
                detail=_intervals(before, after),
            )


def _by_name(version: ModelVersion) -> dict[str, Check]:
    return {} if version.gate is None else {check.name: check for check in version.gate.checks}


def _said(check: Check | None) -> tuple[bool, float | None] | None:
    return None if check is None else (check.passed, check.value)


def _answer(check: Check | None) -> Value:
    """Return the value of a check, or its verdict where it has none."""
    if check is None:
        return None
    if check.value is None:
        return "passed" if check.passed else "failed"
    return check.value


def _intervals(*checks: Check | None) -> str:
    said = [
        f"{check.low:.4g} … {check.high:.4g}"
        if check is not None and check.low is not None and check.high is not None
        else "–"
        for check in checks
    ]
    return "" if set(said) == {"–"} else " → ".join(said)


def _code(code: Code | None) -> dict[str, Value]:
    if code is None:
        return {}
    return {"commit": code.commit, "changes beside it": code.diff, "snapshot": code.snapshot}


def _inputs(version: ModelVersion) -> dict[str, Value]:
    return {each.name: each.datatype for each in version.signature.inputs}


def _form(version: ModelVersion) -> dict[str, Value]:
    serves = "onnx" if version.onnx else version.flavor or version.source
    return {"serves as": serves, "kind": version.signature.kind}


def _latency(version: ModelVersion) -> dict[str, Value]:
    check = _by_name(version).get("latency")
    return {} if check is None else {"seconds, 99th percentile": check.value}
