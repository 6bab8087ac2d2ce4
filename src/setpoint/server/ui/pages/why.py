"""Why something is as it is: the way from it to everything it came from."""

from typing import Any

from setpoint.control.explaining import (
    ExplainedPrediction,
    WhichPrediction,
    decimals,
    explained,
    shares,
)
from setpoint.control.lineage import Link
from setpoint.control.why import Trace, Why, trace
from setpoint.errors import Conflict, NotFound, Unavailable
from setpoint.server.ui.page import Ask, Page, Table

_SHOWN = 20  #: inputs of an explanation, those that count most

_PATHS = {
    "version": "/models/{}",
    "run": "/runs/{}",
    "release": "/releases/{}",
    "alarm": "/alarms/{}",
    "dataset": "/data/{}",
}


def why(ask: Ask) -> Page:
    """Answer "where does it come from?" of a prediction or anything else with an id."""
    found: Trace = ask.call(
        trace, Why(id=ask.query.get("id", ""), model=ask.query.get("model") or None)
    )
    kind, _, name = found.subject.partition(":")
    told: dict[str, Any] = {"explained": None, "shares": [], "unexplained": None}
    if kind == "prediction" and "explain" in ask.query:
        told |= _explained(ask, name)
    tables = {
        "links": Table(
            columns=["depth", "kind", "id", "says", "at", "complete"],
            rows=[[k.depth, k.kind, k.id, k.says, k.at, k.complete] for k in found.links],
        )
    }
    if told["explained"] is not None:
        split = [list(each) for each in told["shares"]]
        tables["contributions"] = Table(columns=["input", "contribution", "error"], rows=split)
    return Page(
        template="why.html",
        title=f"Why {name}",
        active="",
        values={"kind": kind, "name": name, "trace": found, "path": path_of, **told},
        tables=tables,
    )


def _explained(ask: Ask, name: str) -> dict[str, Any]:
    """Return what a prediction's score is made of, or why that cannot be told.

    Computed while the page is asked for, in the thread that answers it: a form asks for it, no
    page has it unasked.
    """
    wanted = WhichPrediction(id=name, model=ask.query.get("model") or None)
    try:
        found: ExplainedPrediction = explained(ask.backend, wanted)
    except (Conflict, NotFound, Unavailable) as error:
        return {"unexplained": error}
    lines, rest = shares(found, _SHOWN)

    def signed(value: float) -> str:
        return f"{value:+.{decimals(found)}f}"

    return {"explained": found, "shares": lines, "rest": rest, "signed": signed}


def path_of(link: Link) -> str:
    """Return the page of what a link leads to; empty where it has none."""
    return _PATHS[link.kind].format(link.id) if link.kind in _PATHS and link.complete else ""
