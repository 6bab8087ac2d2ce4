"""Who did what: the stream of events, and whether the chain is intact."""

from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from setpoint.events.entities import Event
from setpoint.events.service import ListEvents, VerifyEvents, ls, verify
from setpoint.server.ui import words
from setpoint.server.ui.page import Ask, Page, Table
from setpoint.server.ui.queries import events_before

_SHOWN = 100
#: Facts of an event that say why, and those that say what; the rest is in the JSON.
_WHY = ("why", "reason", "text")
_WHAT = ("alias", "number", "rows", "added", "set_aside", "outcome", "gate", "cause")


def stream(ask: Ask) -> Page:
    """Answer "who did what?"."""
    subject, kind = ask.query.get("subject") or None, ask.query.get("kind") or None
    before = ask.query.get("before", "")
    exporting = ask.query.get("format", "html") != "html"
    if before.isdecimal():
        events = ask.read(events_before, int(before), subject, kind, _SHOWN)
    else:
        limit = 100_000 if exporting else _SHOWN
        events = ask.call(ls, ListEvents(subject=subject, kind=kind, limit=limit)).events
    older = ""
    if len(events) == _SHOWN:
        older = "/events?" + urlencode({**ask.query, "before": events[-1].seq})
    return Page(
        template="events.html",
        title="Events",
        active="Events",
        values={
            "heading": _heading(subject, kind),
            "events": events,
            "older": older,
            "chain": ask.call(verify, VerifyEvents()),
            "verified_at": ask.now,
            "summary": summary,
        },
        tables={
            "events": Table(
                columns=["seq", "at", "actor", "kind", "subject", "detail"],
                rows=[[e.seq, e.at, e.actor, e.kind, e.subject, e.detail] for e in events],
            )
        },
    )


def summary(event: Event) -> str:
    """Return the telling facts of an event in one line."""
    detail = event.detail
    lead = [str(detail[name]) for name in _WHY if detail.get(name)]
    rest = [
        f"{words.said(name)} {_plain(detail[name])}"
        for name in _WHAT
        if detail.get(name) not in (None, "", [], {})
    ]
    if event.kind == "release.advanced":
        rest.append(f"{words.percent(detail.get('weight'))} of traffic")
    return "; ".join([*lead, *rest])


def told(event: Event) -> Markup:
    """Return an event as a sentence with a link, for those who follow a model."""
    detail = event.detail
    version = detail.get("version")
    model = detail.get("model", "")
    if event.kind.startswith("release.") and version:
        who = words.version(model, version)
        action = event.kind.partition(".")[2].replace("_", " ")
        if action == "started":
            first = detail.get("state") == "promoted"
            waits = detail.get("state") == "waiting"
            began = "waits for approval" if waits else "began its release"
            action = "went live" if first else began
        elif action in {"promoted", "rolled back", "held", "resumed", "approved", "rejected"}:
            action = f"was {action}"
        elif action == "advanced":
            action = f"was given {words.percent(detail.get('weight'))} of traffic"
        return Markup('{} {} <a href="/releases/{}">{}</a>').format(
            model, who, event.subject.partition(":")[2], action
        )
    if event.kind.startswith("alarm."):
        kind = words.said(detail.get("monitor", ""))
        return Markup('<a href="/alarms/{}">{} {}</a>').format(
            event.subject.partition(":")[2],
            f"{kind} alarm".strip().capitalize(),
            event.kind.partition(".")[2],
        )
    if event.subject.startswith("version:") and event.kind in _OF_VERSION:
        name, _, number = event.subject.partition(":")[2].rpartition("/")
        return Markup("{} {} {}").format(
            name, words.version(name, int(number)), _OF_VERSION[event.kind]
        )
    what = event.kind.replace("_", " ").replace(".", " ", 1).capitalize()
    return Markup("{}: {}").format(what, words.subject(event.subject))


_OF_VERSION = {
    "model.registered": "was registered",
    "model.overridden": "was let past its gate",
}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "passed" if value else "failed"
    if isinstance(value, int):
        return words.whole(value)
    if isinstance(value, float):
        return words.number(value)
    return words.said(value) if isinstance(value, str) else str(value)


def _heading(subject: str | None, kind: str | None) -> str:
    if subject:
        return f"Everything that happened to {subject.replace(':', ' ', 1)}"
    return f"Every {kind} event" if kind else "Everything that changed"
