"""What must a person do now: alarms, open ones first."""

from typing import Any

from setpoint.charts.figure import Figure
from setpoint.charts.ticks import seconds
from setpoint.monitor import store
from setpoint.monitor.entities import Alarm, AlarmState
from setpoint.monitor.service import (
    AcknowledgeAlarm,
    CloseAlarm,
    ShowAlarm,
    ack,
    close,
    show,
)
from setpoint.server.ui import figures, history
from setpoint.server.ui.page import Ask, Drawn, Page, Redirect, Table

_SUGGESTED = {
    "drift": "Look at the columns with the largest share. "
    "Retraining follows where the spec reacts to drift.",
    "quality": "Labels show it. A retrained version is released where the spec reacts to quality.",
    "quality_estimate": "An estimate from scores alone; the labels decide when they come.",
    "data_quality": "Values are missing, new or impossible: look at where the column comes from.",
    "errors": "Requests are not answered, or by the baseline: see the inference server's log.",
}
_SERIES = {
    "quality": "quality",
    "quality_estimate": "quality_estimate",
    "drift": "drift",
    "errors": "errors",
}


def alarms(ask: Ask) -> Page:
    """List alarms, open first."""
    found = ask.read(store.list_alarms, limit=500, standing_first=True)
    standing = [a for a in found if a.state is not AlarmState.CLOSED]
    opened = [a for a in standing if a.state is AlarmState.OPEN]
    heading = "Nothing needs a person"
    if opened:
        many = len(opened) > 1
        heading = f"{len(opened)} alarm{'s' if many else ''} need{'' if many else 's'} a person"
    elif standing:
        heading = f"{len(standing)} alarm{'s' if len(standing) > 1 else ''} being looked at"
    return Page(
        template="alarms.html",
        title="Alarms",
        active="Alarms",
        values={
            "heading": heading,
            "standing": standing,
            "past": [a for a in found if a.state is AlarmState.CLOSED],
            "suggested": _SUGGESTED,
        },
        tables={"alarms": _table(found)},
    )


def alarm(ask: Ask) -> Page:
    """Show one alarm with its evidence."""
    found: Alarm = ask.call(show, ShowAlarm(id=ask.params["alarm"]))
    return Page(
        template="alarm.html",
        title=f"{found.monitor} alarm of {found.model}",
        active="Alarms",
        values={
            "alarm": found,
            "suggested": _SUGGESTED.get(found.monitor, ""),
            "largest": max((share for _, share in found.attribution), default=1.0) or 1.0,
            "facts": {k: v for k, v in found.evidence.items() if isinstance(v, int | float | str)},
        },
        figures=_figure(ask, found),
        tables={
            "attribution": Table(
                columns=["column", "share"], rows=[[c, s] for c, s in found.attribution]
            )
        },
    )


def acknowledge(ask: Ask) -> Redirect:
    """Say that an alarm is being looked at."""
    name = ask.params["alarm"]
    op: Any = close if ask.form.get("do") == "close" else ack
    kind = CloseAlarm if op is close else AcknowledgeAlarm
    ask.call(op, kind(id=name, reason=ask.form.get("reason", "")))
    return Redirect(to=f"/alarms/{name}")


def _figure(ask: Ask, found: Alarm) -> dict[str, Drawn]:
    monitor = _SERIES.get(found.monitor)
    if monitor is None:
        return {}
    seen = [j for j in ask.read(history.judged, found.model, monitor) if j.version == found.version]
    if not seen:
        return {}
    if monitor == "drift":
        panel = figures.drift_panel(seen)
    elif monitor == "errors":
        panel = figures.errors_panel(seen)
    else:
        panel = figures.objective_panel(ask.read(history.promise, found.model), seen)
    return {
        "evidence": Figure(
            title=f"What the {found.monitor} monitor saw",
            summary=found.text,
            panels=[panel],
            verticals=[seconds(found.opened_at)],
        )
    }


def _table(found: list[Alarm]) -> Table:
    return Table(
        columns=[
            "id",
            "model",
            "version",
            "monitor",
            "state",
            "opened_at",
            "closed_at",
            "times",
            "text",
            "attribution",
        ],
        rows=[
            [
                a.id,
                a.model,
                a.version,
                a.monitor,
                a.state.value,
                a.opened_at,
                a.closed_at,
                a.times,
                a.text,
                a.attribution,
            ]
            for a in found
        ],
    )
