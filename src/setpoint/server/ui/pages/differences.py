"""What differs between two versions of a model?"""

import msgspec
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.models.compare.rules import Change
from setpoint.models.compare.service import DiffVersions, VersionDiff, diff
from setpoint.models.service import ModelDetail, ShowModel, Which, get, show
from setpoint.server.ui import words
from setpoint.server.ui.page import Ask, Page, Table

#: What each kind of difference is called, in the order in which a reader asks for it.
_KINDS = {
    "metric": "Metrics on held-out rows",
    "check": "Gate, slices among it",
    "data": "Data it was trained on",
    "param": "Parameters",
    "input": "Inputs",
    "code": "Code",
    "form": "Form",
    "size": "Size",
    "latency": "Latency",
}


class Line(Struct, frozen=True, kw_only=True):
    """One difference, as a line of the page."""

    change: Change
    delta: str  #: the second less the first, where both are numbers


def differences(ask: Ask) -> Page:
    """Answer "what differs?"."""
    model, number = ask.params["model"], ask.params["number"]
    detail: ModelDetail = ask.call(show, ShowModel(model=model))
    other = _other(ask, detail, number)
    found: VersionDiff = ask.call(diff, DiffVersions(model=model, number=other, other=number))
    lines = [Line(change=each, delta=_delta(each)) for each in found.changes]
    return Page(
        template="differences.html",
        title=f"{model} v{other} and v{number}",
        active="Models",
        values={
            "model": model,
            "first": ask.call(get, Which(model=model, number=other)),
            "second": ask.call(get, Which(model=model, number=number)),
            "numbers": [each.number for each in detail.versions],
            "unknown": found.unknown,
            "count": len(lines),
            "kinds": {
                title: mine
                for kind, title in _KINDS.items()
                if (mine := [line for line in lines if line.change.kind == kind])
            },
        },
        tables={
            "differences": Table(
                columns=["kind", "name", f"v{other}", f"v{number}", "detail"],
                rows=[list(msgspec.structs.astuple(each)) for each in found.changes],
            )
        },
    )


def _other(ask: Ask, detail: ModelDetail, number: int) -> int:
    """Return the version compared with: the one asked for, or the one before."""
    text = ask.query.get("with", "")
    if text:
        if not text.isdecimal():
            raise Invalid(f"{text!r} is no version", hint="its number, e.g. 3")
        return int(text)
    others = [each.number for each in detail.versions if each.number != number]
    if not others:
        raise Invalid("it is the only version", hint="a second one can be compared with it")
    return max((each for each in others if each < number), default=others[-1])


def _delta(change: Change) -> str:
    was, now = change.was, change.now
    if change.kind == "data":  # a version's number is a name
        return ""
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in (was, now)):
        return ""
    gap = float(now) - float(was)  # type: ignore[arg-type]
    return f"{'+' if gap >= 0 else ''}{words.value(gap)}"
