"""How values are written on a page: times, durations, numbers, states, names."""

import math
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape

from setpoint.charts import palette, ticks
from setpoint.runs.entities import Run, Value

_UNITS = (
    (timedelta(days=365), "y"),
    (timedelta(days=1), "d"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "min"),
    (timedelta(seconds=1), "s"),
)

#: The state of anything, as the class that colours it; the word always stands beside it.
TONES = {
    "on target": "on",
    "settling": "settling",
    "off target": "off",
    "held": "held",
    "running": "settling",
    "promoted": "on",
    "rolled_back": "off",
    "waiting": "held",
    "delivered": "on",
    "paused": "held",
    "canceled": "off",
    "rejected": "off",
    "finished": "on",
    "failed": "off",
    "killed": "held",
    "open": "off",
    "acknowledged": "held",
    "closed": "quiet",
    "live": "on",
    "canary": "settling",
    "shadow": "quiet",
    "unmanaged": "quiet",
}

#: Tags that say what a run is for.
_LABELS = ("role", "purpose", "kind", "what")

NOTHING = "\N{EN DASH}"


def tone(state: str) -> str:
    """Return the colour class of a state."""
    return TONES.get(str(state), "quiet")


def said(state: object) -> str:
    """Return a state as words: ``rolled_back`` is "rolled back"."""
    return str(state).replace("_", " ")


def exact(at: datetime) -> str:
    """Return a time as hovering shows it: UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def day(at: datetime) -> str:
    """Return a date as people write it: ``3 Mar 2013``."""
    return f"{at.day} {at:%b %Y}"


def span(length: timedelta) -> str:
    """Return a duration in its largest whole unit: ``3 d``, ``12 min``."""
    if length < timedelta(0):
        return f"\N{MINUS SIGN}{span(-length)}"
    if not length:
        return NOTHING
    for unit, name in _UNITS:
        if length >= unit:
            return f"{length // unit} {name}"
    return f"{length / timedelta(milliseconds=1):.0f} ms"


def when(at: datetime | None, now: datetime) -> Markup:
    """Return a time relative to `now`, with the exact one on hover."""
    if at is None:
        return Markup(f'<span class="soft">{NOTHING}</span>')  # noqa: S704 - constant
    gap = now - at
    if abs(gap) < timedelta(seconds=1):
        words = "now"
    elif gap < timedelta(0):
        words = f"in {span(-gap)}"
    elif gap < timedelta(days=60):
        words = f"{span(gap)} ago"
    else:
        words = day(at)
    return stamp(at, words)


def stamp(at: datetime, words: str) -> Markup:
    """Return a ``<time>`` that says `words`."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.astimezone(UTC).isoformat(), exact(at), words
    )


def number(value: float | None) -> str:
    """Return a number, or a dash where there is none."""
    return NOTHING if value is None else ticks.number(float(value))


def value(found: object) -> str:
    """Return a param, tag or metric: numbers for people, NaN and infinities by their names."""
    if found is None:
        return ""
    if not isinstance(found, float):
        return str(found)
    if math.isfinite(found):
        return ticks.number(found)
    return "NaN" if math.isnan(found) else "∞" if found > 0 else "\N{MINUS SIGN}∞"


def whole(value: int | None) -> str:
    """Return a count with thousands separated."""
    return NOTHING if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Return a share as percent."""
    return NOTHING if value is None else ticks.percent(float(value))


def size(value: int | None) -> str:
    """Return a number of bytes: ``1.4 MB``."""
    if value is None:
        return NOTHING
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return NOTHING


def short(name: str, length: int = 12) -> str:
    """Return the telling end of an id or address: ``run_…3N8V5K``."""
    if len(name) <= length + 6:
        return name
    prefix, _, rest = name.partition("_")
    if rest and len(prefix) <= 5:
        return f"{prefix}_…{rest[-6:]}"
    return f"{name[:length]}…"


def version(model: str, value: int | None) -> Markup:
    """Return a version as a link in its colour."""
    if value is None:
        return Markup(NOTHING)  # noqa: S704 - constant
    return Markup('<a class="version {}" href="/models/{}/{}">v{}</a>').format(
        palette.of_version(value), quote(model), value, value
    )


#: Where the page of a subject of an event is, by its kind.
_PAGES = {
    "model": "/models/{}",
    "version": "/models/{}",
    "run": "/runs/{}",
    "experiment": "/experiments/named/{}",
    "dataset": "/data/{}",
    "release": "/releases/{}",
    "alarm": "/alarms/{}",
    "report": "/reports/{}",
    "channel": "/channels/{}",
    "sweep": "/sweeps/{}",
    "artifact": "/collections/named/{}",
}


def page_of(ref: str) -> str:
    """Return the path of the page about the subject of an event; empty where there is none."""
    kind, _, name = ref.partition(":")
    return _PAGES[kind].format(quote(name)) if kind in _PAGES else ""


def person(name: str) -> str:
    """Return the path of the page about what somebody did."""
    return f"/activity?{urlencode({'person': name})}"


def subject(ref: str) -> Markup:
    """Return the subject of an event as a link to its page."""
    kind, _, name = ref.partition(":")
    path = page_of(ref)
    words = f"{kind} {short(name, 24)}"
    if not path:
        return escape(words)
    return Markup('<a href="{}">{}</a>').format(path, words)


def run_title(run: Run) -> str:
    """Return what people call a run."""
    return run.name or (f"{run.id[:4]}…{run.id[-6:]}" if len(run.id) > 16 else run.id)


def run_label(run: Run) -> str:
    """Return what a run is for, as its tags tell."""
    for name in _LABELS:
        if name in run.tags:
            return run.tags[name].capitalize()
    why = run.params.get("why")
    return str(why).capitalize() if why else ""


def of_run(run: Run, column: str) -> Value:
    """Return what a run has in a column, ``metrics.…``, ``params.…`` or ``tags.…``, if it has."""
    entity, _, name = column.partition(".")
    if entity == "metrics":
        return run.metrics.get(name)
    return run.params.get(name) if entity == "params" else run.tags.get(name)
