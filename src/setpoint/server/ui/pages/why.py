"""Why something is as it is: the way from it to everything it came from."""

from setpoint.control.lineage import Link
from setpoint.control.why import Trace, Why, trace
from setpoint.server.ui.page import Ask, Page, Table

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
    return Page(
        template="why.html",
        title=f"Why {name}",
        active="",
        values={"kind": kind, "name": name, "trace": found, "path": path_of},
        tables={
            "links": Table(
                columns=["depth", "kind", "id", "says", "at", "complete"],
                rows=[[k.depth, k.kind, k.id, k.says, k.at, k.complete] for k in found.links],
            )
        },
    )


def path_of(link: Link) -> str:
    """Return the page of what a link leads to; empty where it has none."""
    return _PATHS[link.kind].format(link.id) if link.kind in _PATHS and link.complete else ""
