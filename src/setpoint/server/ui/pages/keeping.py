"""How long runs are kept, what goes next, and what went."""

from setpoint.errors import Invalid
from setpoint.events.entities import Event
from setpoint.events.service import ListEvents
from setpoint.events.service import ls as events
from setpoint.runs.commands import Expire, Expired, KeepRuns, ListRules
from setpoint.runs.entities import RunRule
from setpoint.runs.expiring import GRACE, expire, keep
from setpoint.runs.expiring import ls as rules
from setpoint.server.ui import queries
from setpoint.server.ui.page import Ask, Page, Redirect, Table
from setpoint.server.ui.pages.registry import number_in, reason_in

_SHOWN = 50


def keeping(ask: Ask) -> Page:
    """Answer "how long are runs kept, and what goes next?"."""
    found: list[RunRule] = ask.call(rules, ListRules()).rules
    going = Expired(runs=0, experiments={})
    if found:
        with ask.backend.reading() as conn:  # as a dry run it changes nothing
            going = expire(ask.backend.context(conn), Expire(dry=True))
    went = [*_events(ask, "runs.expired"), *_events(ask, "runs.collected")]
    went = sorted(went, key=lambda each: -each.seq)[:_SHOWN]
    return Page(
        template="keeping.html",
        title="How long runs are kept",
        active="Runs",
        values={
            "heading": _heading(found, going),
            "rules": found,
            "next": _next(found, going),
            "went": went,
            "freed": sum(each.detail.get("bytes", 0) for each in went),
            "grace": GRACE.days,
            "experiments": ask.read(queries.experiments, 500),
        },
        tables={
            "rules": Table(
                columns=["experiment", "days", "tags", "actor", "at", "reason"],
                rows=[[r.experiment, r.days, r.tags, r.actor, r.at, r.reason] for r in found],
            )
        },
    )


def _next(found: list[RunRule], going: Expired) -> dict[str | None, int]:
    """Return how many runs each rule lets go, by its experiment."""
    own = {each.experiment for each in found}
    counts: dict[str | None, int] = dict.fromkeys(own, 0)
    for name, count in going.experiments.items():
        rule = name if name in own else None
        counts[rule] = counts.get(rule, 0) + count
    return counts


def _events(ask: Ask, kind: str) -> list[Event]:
    found: list[Event] = ask.call(events, ListEvents(kind=kind, limit=_SHOWN)).events
    return found


def _heading(found: list[RunRule], going: Expired) -> str:
    if not found:
        return "Every run is kept until somebody deletes it"
    if not going.runs:
        return "No run is older than its rule keeps it"
    return f"{going.runs:,} run{' is' if going.runs == 1 else 's are'} older than the rule keeps"


def change(ask: Ask) -> Redirect:
    """Set or drop a rule."""
    what, experiment = ask.form.get("do", ""), ask.form.get("experiment", "").strip() or None
    if what == "drop":
        cmd = KeepRuns(experiment=experiment, drop=True, reason=reason_in(ask))
    elif what == "keep":
        days = ask.form.get("days", "").strip()
        tags = [part.strip() for part in ask.form.get("tags", "").split(",")]
        cmd = KeepRuns(
            experiment=experiment,
            days=number_in(ask, "days") if days else None,
            tags=[tag for tag in tags if tag],
            reason=reason_in(ask),
        )
    else:
        raise Invalid(f"a rule cannot be changed by {what!r}", hint="keep or drop")
    ask.call(keep, cmd)
    return Redirect(to="/keeping")
