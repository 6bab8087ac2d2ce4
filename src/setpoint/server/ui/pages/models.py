"""Is everything on target, and how has a model held?"""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from setpoint.charts.figure import Figure
from setpoint.charts.palette import of_version
from setpoint.charts.small import sparkline
from setpoint.events.entities import Event
from setpoint.models.service import ModelDetail, ShowModel
from setpoint.models.service import show as show_model
from setpoint.monitor import store as monitor
from setpoint.monitor.entities import Alarm, AlarmState, Traffic
from setpoint.releases import store as release_store
from setpoint.releases.entities import Release
from setpoint.serve.splits import store as splits
from setpoint.server.ui import figures, history, queries, status
from setpoint.server.ui.history import Judged, Live, Promise
from setpoint.server.ui.page import Ask, Page, Table
from setpoint.server.ui.pages import registry, talk
from setpoint.server.ui.pages.events import told

_RANGES = {"30d": 30, "90d": 90, "all": 0}


class Seen(Struct, frozen=True, kw_only=True):
    """All about one model that its page and its line in the overview show."""

    model: str
    promise: Promise | None
    quality: list[Judged]
    estimate: list[Judged]
    drift: list[Judged]
    errors: list[Judged]  #: empty where the spec has no ceiling for them
    traffic: list[Traffic]
    lives: list[Live]
    releases: list[Release]
    alarms: list[Alarm]

    @property
    def live(self) -> Live | None:
        """What is live now."""
        return self.lives[-1] if self.lives else None

    @property
    def standing(self) -> list[Alarm]:
        """Alarms that are not closed."""
        return [alarm for alarm in self.alarms if alarm.state is not AlarmState.CLOSED]

    @property
    def release(self) -> Release | None:
        """The release in progress."""
        return next((release for release in self.releases if release.open), None)

    @property
    def newest(self) -> Judged | None:
        """The newest judged window with a value."""
        return next((each for each in reversed(self.quality) if each.value is not None), None)


def look(ask: Ask, model: str) -> Seen:
    """Gather what there is to see of a model."""
    return Seen(
        model=model,
        promise=ask.read(history.promise, model),
        quality=ask.read(history.judged, model, "quality"),
        estimate=ask.read(history.judged, model, "quality_estimate"),
        drift=ask.read(history.judged, model, "drift"),
        errors=ask.read(history.judged, model, "errors"),
        traffic=ask.read(monitor.traffic, model),
        lives=ask.read(history.lives, model),
        releases=ask.read(release_store.ls, model, limit=200),
        alarms=ask.read(monitor.list_alarms, model=model, limit=200, standing_first=True),
    )


def overview(ask: Ask) -> Page:
    """Answer "is everything on target?"."""
    states = status.all_models(ask)
    lines = [_line(look(ask, each.model), each, ask.now) for each in states]
    off = [each for each in states if each.state == "off target"]
    return Page(
        template="overview.html",
        title="Overview",
        active="Overview",
        values={
            "heading": _heading(states),
            "lines": lines,
            "off": off,
            "totals": ask.read(queries.totals),
            "changes": [_change(event) for event in ask.read(queries.changes)],
        },
        tables={
            "models": Table(
                columns=[
                    "model",
                    "state",
                    "why",
                    "version",
                    "live_since",
                    "predictions",
                    "alarms",
                ],
                rows=[
                    [
                        line["seen"].model,
                        str(line["status"].state),
                        line["status"].why,
                        line["seen"].live.version if line["seen"].live else None,
                        line["seen"].live.at if line["seen"].live else None,
                        line["predictions"],
                        len(line["seen"].standing),
                    ]
                    for line in lines
                ],
            )
        },
    )


def _change(event: Event) -> dict[str, Any]:
    why = event.detail.get("text") or event.detail.get("why") or event.detail.get("reason") or ""
    return {"at": event.at, "told": told(event), "why": why}


def _heading(states: list[status.Status]) -> str:
    if not states:
        return "No model yet"
    kinds: dict[str, int] = {}
    for each in states:
        kinds[str(each.state)] = kinds.get(str(each.state), 0) + 1
    if len(states) == 1:
        only = states[0]
        return f"{only.model} is {only.state}"
    if set(kinds) == {"on target"}:
        return f"All {len(states)} models are on target"
    order = ("off target", "held", "settling", "on target", "unmanaged")
    return ", ".join(f"{kinds[k]} {k}" for k in order if k in kinds)


def _line(seen: Seen, state: status.Status, now: datetime) -> dict[str, Any]:
    promise = seen.promise
    answered = history.whole_days(seen.traffic, now)
    recent: dict[Any, int] = {}
    for each in answered:
        recent[each.day] = recent.get(each.day, 0) + each.rows
    days = sorted(recent)[-60:]
    live = seen.live
    return {
        "seen": seen,
        "status": state,
        "spark": sparkline(
            [each.value for each in sorted(seen.quality, key=lambda each: each.end)][-60:],
            title=f"{promise.metric if promise else 'objective'} of {seen.model}",
            low=promise.at_least if promise else None,
            high=promise.at_most if promise else None,
            color=of_version(live.version) if live else "accent",
            width=220,
            height=44,
        ),
        "traffic": sparkline(
            [float(recent[day]) for day in days],
            title=f"predictions a day of {seen.model}",
            color="muted",
            width=104,
            height=24,
        ),
        "predictions": sum(each.rows for each in seen.traffic),
        "daily": sum(recent[day] for day in days[-7:]) / max(len(days[-7:]), 1),
    }


def model(ask: Ask) -> Page:
    """Answer "how has it held, and why did it change?"."""
    name = ask.params["model"]
    detail = ask.call(show_model, ShowModel(model=name))
    about = registry.about(ask, name)
    seen = look(ask, name)
    state = status.of_model(ask, name)
    shown = ask.query.get("range", "all")
    return Page(
        template="model.html",
        title=name,
        active="Models",
        values={
            "seen": seen,
            "purpose": ask.read(history.purpose, name),
            "status": state,
            "detail": detail,
            "ranges": list(_RANGES),
            "range": shown,
            "history": {each.version: each for each in seen.lives},
            "releases_of": {r.version: r for r in reversed(seen.releases)},
            "arms": ask.read(splits.arms, name),
            "served": bool(seen.lives or seen.traffic or seen.quality),
            "about": about,
            "talk": talk.of(ask, about.model.ref),
        },
        figures={"held": _held(seen, ask.now, _RANGES.get(shown, 0))},
        tables={**_tables(detail, seen), **registry.saved(about)},
    )


def _held(seen: Seen, now: datetime, days: int) -> Figure:
    start, end = history.window(seen.lives, seen.traffic, now)
    if days:
        start = max(start, end - timedelta(days=days))
    whole = history.whole_days(seen.traffic, end)
    return figures.held(
        promise=seen.promise,
        quality=[each for each in seen.quality if each.end >= start],
        estimate=[each for each in seen.estimate if each.end >= start],
        drift=[each for each in seen.drift if each.end >= start],
        errors=[each for each in seen.errors if each.end >= start],
        traffic=[each for each in whole if each.day >= start - timedelta(days=1)],
        lives=seen.lives,
        releases=seen.releases,
        alarms=seen.alarms,
        start=start,
        end=end,
    )


def _tables(detail: ModelDetail, seen: Seen) -> dict[str, Table]:
    names = sorted({name for v in detail.versions for name in v.metrics})
    return {
        "versions": Table(
            columns=["version", "created_at", "why", "gate", "run", *names],
            rows=[
                [v.number, v.created_at, v.why, v.gate and v.gate.passed, v.run_id]
                + [v.metrics.get(name) for name in names]
                for v in detail.versions
            ],
        ),
        "quality": Table(
            columns=["version", "start", "end", "value", "low", "high", "bound", "labels"],
            rows=[
                [j.version, j.start, j.end, j.value, j.low, j.high, j.bound, j.labels]
                for j in seen.quality
            ],
        ),
        "traffic": Table(
            columns=["day", "version", "role", "predictions", "logged"],
            rows=[[t.day, t.version, t.role, t.rows, t.logged] for t in seen.traffic],
        ),
    }
