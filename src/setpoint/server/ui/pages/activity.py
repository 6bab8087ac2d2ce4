"""Who did what, told as people tell it."""

from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from msgspec import Struct

from setpoint.comments import store as comments
from setpoint.comments.entities import Comment
from setpoint.events.entities import Event
from setpoint.server.ui import queries, words
from setpoint.server.ui.page import Ask, Page, Table
from setpoint.server.ui.pages import talk

_SHOWN = 200  #: events a page
_SAVED = 10_000  #: in a file
_NAMED = 3  #: things named in one line; more are counted

_RAN = "run.ran"

#: What somebody did, by the kind of event; ``{}`` is what they did it to.
_DID = {
    "alarm.acknowledged": "acknowledged {}",
    "channel.added": "added {} to tell it of events",
    "channel.changed": "changed {}",
    "dataset.ingested": "brought in {}",
    "model.alias_dropped": "took the alias {alias} from {}",
    "model.alias_moved": "pointed the alias {alias} at {}",
    "model.alias_protected": "protected the alias {alias} of {}",
    "model.alias_unprotected": "lifted the protection of the alias {alias} of {}",
    "model.approval_asked": "asked {role} to approve {}",
    "model.approved": "approved {} as {role}",
    "model.card_written": "wrote on the card of {}",
    "model.commented": "said something about {}",
    "model.overridden": "let {} past its gate",
    "model.registered": "registered {}",
    "model.rejected": "refused {} as {role}",
    "model.signed": "signed {}",
    "model.tagged": "tagged {} with {key}={value}",
    "model.untagged": "took the tag {key} from {}",
    "model.updated": "described {}",
    "model.version_deleted": "deleted {}",
    "model.version_restored": "restored {}",
    "model.version_updated": "described {}",
    "release.advanced": "gave {} more traffic",
    "release.rolled_back": "rolled {} back",
    "report.written": "wrote {}",
    _RAN: "ran {}",
    "run.commented": "said something about {}",
    "experiment.commented": "said something about {}",
    "report.commented": "said something about {}",
    "spec.applied": "applied the spec of {}",
    "training.requested": "asked for a training of {}",
}
_WHY = ("reason", "why", "text")


class Deed(Struct, frozen=True, kw_only=True):
    """What one person did to one thing, or to several in a row."""

    events: list[Event]  #: newest first; all of one actor and kind
    told: Markup
    why: str
    said: talk.Said | None = None

    @property
    def at(self) -> Any:
        """When they did it last."""
        return self.events[0].at

    @property
    def actor(self) -> str:
        """Who did it."""
        return self.events[0].actor


def activity(ask: Ask) -> Page:
    """Answer "who did what?", of everybody or of one person, model or run."""
    shown = {name: ask.query.get(name, "").strip() for name in ("person", "model", "run")}
    before = ask.query.get("before", "")
    exporting = ask.query.get("format", "html") != "html"
    found = ask.read(
        queries.deeds,
        before=int(before) if before.isdecimal() else None,
        limit=_SAVED if exporting else _SHOWN,
        **shown,
    )
    kept = {name: value for name, value in shown.items() if value}
    more = len(found) == _SHOWN and not exporting
    older = urlencode({**kept, "before": found[-1].seq}) if more else ""
    return Page(
        template="activity.html",
        title="Activity",
        active="Team",
        values={
            "heading": _heading(shown),
            "days": _by_day(_deeds(ask, found)),
            "people": ask.read(queries.people),
            "models": ask.read(queries.model_names),
            "shown": shown,
            "older": f"/activity?{older}" if older else "",
        },
        tables={
            "activity": Table(
                columns=["seq", "at", "actor", "kind", "subject", "detail"],
                rows=[[e.seq, e.at, e.actor, e.kind, e.subject, e.detail] for e in found],
            )
        },
    )


def _heading(shown: dict[str, str]) -> str:
    who, model, run = shown["person"], shown["model"], shown["run"]
    what = f"with {model}" if model else f"with run {run}" if run else ""
    return " ".join(part for part in (f"What {who or 'everybody'} did", what) if part)


def _by_day(deeds: list[Deed]) -> dict[date, list[Deed]]:
    days: dict[date, list[Deed]] = {}
    for each in deeds:
        days.setdefault(each.at.date(), []).append(each)
    return days


def _deeds(ask: Ask, events: list[Event]) -> list[Deed]:
    """Return events as deeds: those of one person and kind in a row, on one day, are one."""
    ids = [each.detail["comment"] for each in events if each.kind.endswith(".commented")]
    known = ask.read(comments.among, ids)
    runs = {each.subject.partition(":")[2] for each in events if each.subject.startswith("run:")}
    names = ask.read(queries.run_names, sorted(runs))
    return [_deed(ask, row, known, names) for row in _rows(events)]


def _rows(events: list[Event]) -> Iterator[list[Event]]:
    row: list[Event] = []
    for each in events:
        if row and _alike(row[0], each):
            row.append(each)
            continue
        if row:
            yield row
        row = [each]
    if row:
        yield row


def _alike(one: Event, other: Event) -> bool:
    """Tell whether two events are told in one sentence: nothing but their subjects differs."""
    same = (one.actor, one.at.date()) == (other.actor, other.at.date())
    alike = same and _kind(one) == _kind(other)
    return alike and not one.kind.endswith(".commented") and _why(one) == _why(other)


def _kind(event: Event) -> str:
    """Return what a deed counts as: that a run began and that it ended are one."""
    return _RAN if event.kind in {"run.started", "run.finished"} else event.kind


def _deed(ask: Ask, events: list[Event], known: dict[str, Comment], names: dict[str, str]) -> Deed:
    first = events[0]
    comment = known.get(first.detail.get("comment", ""))
    return Deed(
        events=events,
        told=_told(events, names),
        why=_why(first),
        said=None if comment is None else talk.shown(ask, comment),
    )


def _told(events: list[Event], names: dict[str, str]) -> Markup:
    first = events[0]
    subjects = list(dict.fromkeys(_thing(each, names) for each in events))
    things = Markup(", ").join(subjects[:_NAMED])
    if len(subjects) > _NAMED:
        things += Markup(" and {} more").format(len(subjects) - _NAMED)
    noun, _, verb = first.kind.partition(".")
    usual = f"{words.said(verb)} {{}}" if verb else f"{noun} {{}}"
    facts = {name: value for name, value in first.detail.items() if isinstance(value, str)}
    form = _DID.get(_kind(first), usual)
    wanted = {name: facts.get(name, "") for name in ("alias", "role", "key", "value")}
    return Markup(form).format(things, **wanted)  # noqa: S704 - ours; what it takes is escaped


def _thing(event: Event, names: dict[str, str]) -> Markup:
    """Return what an event happened to, by the name that people have for it."""
    kind, _, name = event.subject.partition(":")
    model, _, number = name.rpartition("/")
    if kind == "version" and number.isdecimal():
        return Markup("{} {}").format(model, words.version(model, int(number)))
    if kind == "release" and event.detail.get("version"):
        model, number = event.detail.get("model", ""), event.detail["version"]
        return _link(event, f"the release of {model} v{number}")
    if kind == "alarm" and event.detail.get("model"):
        monitor = words.said(event.detail.get("monitor", ""))
        parts = ("the", monitor, "alarm of", event.detail["model"])
        return _link(event, " ".join(part for part in parts if part))
    if kind == "run" and name in names:
        return _link(event, names[name])
    title = event.detail.get("title") or event.detail.get("name")
    return _link(event, f"{kind} “{title}”") if title else words.subject(event.subject)


def _link(event: Event, text: str) -> Markup:
    path = words.page_of(event.subject)
    return Markup('<a href="{}">{}</a>').format(path, text) if path else Markup("{}").format(text)


def _why(event: Event) -> str:
    return next((str(event.detail[name]) for name in _WHY if event.detail.get(name)), "")
