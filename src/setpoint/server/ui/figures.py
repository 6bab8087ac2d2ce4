"""Charts about a model and its releases, made from what the read models return."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import structs

from setpoint.charts.figure import Area, Figure, Lane, Line, Panel, Rule, Span, Zone
from setpoint.charts.palette import of_version
from setpoint.charts.ticks import number, percent, seconds
from setpoint.monitor.entities import Alarm, AlarmState, Traffic
from setpoint.monitor.store import ANSWERED
from setpoint.releases.entities import Release, State
from setpoint.server.ui.history import Judged, Live, Promise
from setpoint.server.ui.words import day, said

_TONES = {
    State.PROMOTED: "state-on",
    State.ROLLED_BACK: "state-off",
    State.REJECTED: "state-off",
    State.WAITING: "state-held",
    State.HELD: "state-held",
    State.RUNNING: "state-settling",
}


def held(  # noqa: PLR0913 - everything that shares the model's time axis
    *,
    promise: Promise | None,
    quality: Sequence[Judged],
    estimate: Sequence[Judged],
    drift: Sequence[Judged],
    errors: Sequence[Judged],
    traffic: Sequence[Traffic],
    lives: Sequence[Live],
    releases: Sequence[Release],
    alarms: Sequence[Alarm],
    start: datetime,
    end: datetime,
) -> Figure:
    """Return how a model has held, and why it changed: everything on one time axis.

    Nothing judges a model without a spec: then its traffic is all there is to show.
    """
    judged = promise is not None or bool(quality)
    return Figure(
        title="How the model has held",
        summary=_summary(quality, promise),
        start=seconds(start),
        end=seconds(end),
        lanes=[
            Lane(title="Live", spans=[_live(each) for each in lives]),
            Lane(title="Releases", spans=[_release(r) for r in reversed(releases)]),
            Lane(title="Alarms", spans=[_alarm(a) for a in sorted(alarms, key=_opened)]),
        ],
        verticals=[seconds(each.at) for each in lives[1:]],
        panels=[
            *([objective_panel(promise, quality, estimate)] if judged else []),
            traffic_panel(traffic),
            *([coverage_panel(quality, traffic)] if judged else []),
            *([drift_panel(drift)] if judged or drift else []),
            *([errors_panel(errors)] if errors else []),
        ],
    )


def objective_panel(
    promise: Promise | None, quality: Sequence[Judged], estimate: Sequence[Judged] = ()
) -> Panel:
    """Return the objective with its interval against its bound, one line a version."""
    rules, zones = _bounds(promise)
    if not rules and quality and quality[-1].bound is not None:
        rules = [Rule(value=quality[-1].bound, text=f"target {number(quality[-1].bound)}")]
    metric = promise.metric if promise else quality[-1].metric if quality else "objective"
    lines = [
        Line(
            label=f"v{version}",
            xs=[_middle(each) for each in members],
            ys=[each.value for each in members],
            low=[each.low for each in members],
            high=[each.high for each in members],
            color=of_version(version),
        )
        for version, members in _by_version(quality)
    ]
    newest = max((each.end for each in quality), default=None)
    ahead = [each for each in estimate if newest is None or each.end > newest]
    if ahead:
        lines.append(
            Line(
                label="estimate",
                xs=[_middle(each) for each in ahead],
                ys=[each.value for each in ahead],
                color="muted",
                dashed=True,
            )
        )
    return Panel(
        title=f"{metric}, with its 95 % interval, from labels",
        lines=_without_crowd(lines),
        rules=rules,
        zones=zones,
        height=184,
        empty="no labels have come yet",
    )


def traffic_panel(traffic: Sequence[Traffic]) -> Panel:
    """Return predictions a day, stacked by the version that answered."""
    days = sorted({each.day for each in traffic})
    counts: dict[tuple[int, datetime], int] = {}
    for each in traffic:
        counts[each.version, each.day] = counts.get((each.version, each.day), 0) + each.rows
    xs = [seconds(each) + 43_200 for each in days]
    return Panel(
        title="Predictions a day, by version",
        areas=[
            Area(
                label="",
                name=f"predictions, v{version}",
                xs=xs,
                ys=[float(counts.get((version, each), 0)) for each in days],
                color=of_version(version),
            )
            for version in sorted({each.version for each in traffic})
        ],
        height=88,
        empty="no predictions yet",
    )


def coverage_panel(quality: Sequence[Judged], traffic: Sequence[Traffic]) -> Panel:
    """Return the share of predictions whose label had come when they were judged."""
    rows: dict[tuple[int, datetime], int] = {}
    for each in traffic:
        if each.role in ANSWERED:
            key = each.version, each.day
            rows[key] = rows.get(key, 0) + each.logged
    xs, ys = [], []
    for judgement in sorted(quality, key=_middle):
        asked = sum(
            rows.get((judgement.version, judgement.start + timedelta(days=i)), 0)
            for i in range(max((judgement.end - judgement.start).days, 1))
        )
        xs.append(_middle(judgement))
        ys.append(min(judgement.labels / asked, 1.0) if asked else None)
    return Panel(
        title="Label coverage",
        lines=[Line(label="", xs=xs, ys=ys, color="accent")],
        scale="percent",
        high=1.0,
        height=64,
        empty="no labels have come yet",
    )


def drift_panel(drift: Sequence[Judged]) -> Panel:
    """Return the evidence of drift against the threshold at which it alarms."""
    lines = [
        Line(
            label="",
            name=f"drift, v{version}",
            xs=[_middle(each) for each in members],
            ys=[each.value for each in members],
            color=of_version(version),
        )
        for version, members in _by_version(drift)
    ]
    known = [each.bound for each in drift if each.bound is not None]
    rules = [Rule(value=known[-1], text="alarm", kind="limit")] if known else []
    return Panel(
        title="Evidence of drift",
        lines=lines,
        rules=rules,
        scale="log",
        height=88,
        empty="no window has been judged yet",
    )


def errors_panel(errors: Sequence[Judged]) -> Panel:
    """Return the share of requests that failed or fell back, against its ceiling."""
    lines = [
        Line(
            label="",
            name=f"failed, v{version}",
            xs=[_middle(each) for each in members],
            ys=[each.value for each in members],
            color=of_version(version),
        )
        for version, members in _by_version(errors)
    ]
    known = [each.bound for each in errors if each.bound is not None]
    rules = [Rule(value=known[-1], text="at most", kind="limit")] if known else []
    return Panel(
        title="Requests that failed or fell back",
        lines=lines,
        rules=rules,
        scale="percent",
        height=64,
        empty="no window has been judged yet",
    )


def _bounds(promise: Promise | None) -> tuple[list[Rule], list[Zone]]:
    if promise is None:
        return [], []
    low, high = promise.at_least, promise.at_most
    rules = []
    if low is not None:
        rules.append(Rule(value=low, text=f"at least {low:g}"))
    if high is not None:
        rules.append(Rule(value=high, text=f"at most {high:g}"))
    return rules, [Zone(low=low, high=high)] if rules else []


def _without_crowd(lines: list[Line]) -> list[Line]:
    """Name only the newest line: the lanes above name the others."""
    last = len(lines) - 1
    return [
        line if index == last else structs.replace(line, label="", name=line.label)
        for index, line in enumerate(lines)
    ]


def _by_version(found: Iterable[Judged]) -> list[tuple[int, list[Judged]]]:
    groups: dict[int, list[Judged]] = {}
    for each in found:
        groups.setdefault(each.version, []).append(each)
    return sorted(groups.items())


def _middle(each: Judged) -> float:
    return (seconds(each.start) + seconds(each.end)) / 2


def _opened(alarm: Alarm) -> datetime:
    return alarm.opened_at


def _live(each: Live) -> Span:
    until = "now" if each.until is None else day(each.until)
    return Span(
        start=seconds(each.at),
        end=None if each.until is None else seconds(each.until),
        text=f"v{each.version}",
        title=f"version {each.version} live from {day(each.at)} to {until}",
        color=of_version(each.version),
        href=f"?version={each.version}#versions",
    )


def _release(release: Release) -> Span:
    verdict = said(release.state)
    return Span(
        start=seconds(release.started_at),
        end=None if release.ended_at is None else seconds(release.ended_at),
        text=f"v{release.version} {verdict}",
        title=f"release of version {release.version}, {verdict}: {release.verdict_why}",
        color=_TONES[release.state],
        href=f"/releases/{release.id}",
    )


def _alarm(alarm: Alarm) -> Span:
    end = alarm.closed_at or (None if alarm.state is not AlarmState.CLOSED else alarm.seen_at)
    return Span(
        start=seconds(alarm.opened_at),
        end=None if end is None else seconds(end),
        text=said(alarm.monitor),
        title=f"{said(alarm.monitor)} alarm of {day(alarm.opened_at)}: {alarm.text}",
        color="muted" if alarm.state is AlarmState.CLOSED else "state-off",
        href=f"/alarms/{alarm.id}",
        shape="flag",
    )


def _summary(quality: Sequence[Judged], promise: Promise | None) -> str:
    known = [each for each in quality if each.value is not None]
    if not known:
        return "no labels have come yet"
    last = known[-1]
    words = f"newest {number(last.value or 0.0)} by version {last.version}"
    bound = promise.at_least if promise else None
    if bound is not None:
        below = sum((each.value or 0.0) < bound for each in known)
        words += f"; below {bound:g} in {percent(below / len(known))} of {len(known)} windows"
    return words
