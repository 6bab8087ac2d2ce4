"""Small pictures that stand in a table or beside a sentence."""

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from setpoint.charts import svg, ticks
from setpoint.charts.scales import Linear, finite
from setpoint.charts.svg import el


def sparkline(
    values: Sequence[float | None],
    *,
    title: str,
    low: float | None = None,
    high: float | None = None,
    color: str = "accent",
    width: float = 168,
    height: float = 36,
) -> str:
    """Return a line without axes; what lies outside `low` … `high` is off target.

    The bounds are part of the picture: the on-target zone is shaded, and its edge drawn.
    """
    seen = list(finite(values))
    if not seen:
        dash = el("line", x1=2, x2=width - 2, y1=height / 2, y2=height / 2, class_="grid")
        return svg.document(
            dash,
            width=width,
            height=height,
            title=title,
            summary="no data yet",
            class_="spark",
        )
    low, high = next(finite([low]), None), next(finite([high]), None)
    bounds = [b for b in (low, high) if b is not None]
    bottom, top = min([*seen, *bounds]), max([*seen, *bounds])
    room = (top - bottom) * 0.1 or max(abs(top) * 0.1, 0.05)
    y = Linear(bottom - room, top + room, height - 3, 3)
    x = Linear(0, max(len(values) - 1, 1), 3, width - 5)
    parts = _zone(low, high, y, width)
    parts += _runs(values, x, y, color)
    last = max(i for i, v in enumerate(values) if next(finite([v]), None) is not None)
    parts.append(el("circle", cx=x(last), cy=y(seen[-1]), r=2.75, class_=f"dot {color} last"))
    said = f"from {ticks.number(seen[0])} to {ticks.number(seen[-1])}"
    return svg.document(
        *parts, width=width, height=height, title=title, summary=said, class_="spark"
    )


def histogram_pair(
    names: Sequence[str],
    reference: Sequence[float],
    current: Sequence[float] = (),
    *,
    title: str,
    width: float = 220,
    height: float = 56,
) -> str:
    """Return bars of shares: `reference` filled, `current` as an outline over it.

    Both are counts over the bins `names`; each is divided by its own sum.
    """
    before, after = _shares(reference), _shares(current)
    count = max(len(before), len(after))
    top = max([*before, *after], default=0.0)
    if not count or top <= 0:
        words = svg.label("no values", x=width / 2, y=height / 2, class_="empty", anchor="middle")
        return svg.document(
            words, width=width, height=height, title=title, summary="", class_="hist"
        )
    step = width / count
    y = Linear(0, top, height - 2, 2)
    gap = 1.0 if step > 4 else 0.0
    parts = []
    for index, share in enumerate(before):
        name = names[index] if index < len(names) else ""
        said = el("title", svg.text(f"{name}: {ticks.percent(share)}"))
        parts.append(_bar(index * step, y(share), step - gap, height - 2, "bar muted", said))
    if after:
        outline = [(0.0, height - 2)]
        for index, share in enumerate(after):
            outline += [(index * step, y(share)), ((index + 1) * step, y(share))]
        outline.append((count * step, height - 2))
        parts.append(el("path", d=svg.path(outline), class_="outline accent"))
    parts.append(el("line", x1=0, x2=width, y1=height - 2, y2=height - 2, class_="axis"))
    widest = max(range(len(before)), key=before.__getitem__, default=0)
    said = f"most frequent: {names[widest]}" if widest < len(names) else ""
    return svg.document(
        *parts, width=width, height=height, title=title, summary=said, class_="hist"
    )


class Arm(Struct, frozen=True, kw_only=True):
    """An estimate with its interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    color: str


def intervals(
    arms: Sequence[Arm],
    *,
    title: str,
    rule: float | None = None,
    write: Literal["number", "percent"] = "number",
    width: float = 520,
) -> str:
    """Return one row per arm: a dot, its interval, its value in words at the right."""
    say = ticks.percent if write == "percent" else ticks.number
    rule = next(finite([rule]), None)
    ends = [v for a in arms for v in finite((a.value, a.low, a.high, rule))]
    height = 26.0 * len(arms) + 24
    if not ends:
        words = svg.label("no data yet", x=0, y=14, class_="empty")
        return svg.document(words, width=width, height=28.0, title=title, summary="")
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or max(abs(high) * 0.1, 0.01)
    left = min(max(svg.width_of(a.name) for a in arms) + 16, 150.0)
    right = width - max(svg.width_of(_said(a, say)) for a in arms) - 24
    x = Linear(low - room, high + room, left, max(right, left + 60))
    parts = []
    for tick in ticks.numbers(x.low, x.high, max(1, min(4, int((x.end - x.start) // 64)))):
        at = x(tick.at)
        parts.append(el("line", x1=at, x2=at, y1=2, y2=height - 20, class_="grid"))
        text = say(tick.at) if write == "percent" else tick.text
        parts.append(svg.label(text, x=at, y=height - 5, class_="tick", anchor="middle"))
    if rule is not None:
        parts.append(
            el(
                "line",
                x1=x(rule),
                x2=x(rule),
                y1=2,
                y2=height - 20,
                class_="line-rule limit",
            )
        )
    for index, arm in enumerate(arms):
        parts += _arm(arm, x, 15 + 26.0 * index, width, say)
    said = "; ".join(f"{a.name} {say(a.value)}" for a in arms)
    return svg.document(
        *parts, width=width, height=height, title=title, summary=said, class_="intervals"
    )


class Stage(Struct, frozen=True, kw_only=True):
    """One stage of a release."""

    name: str  #: ``shadow``, ``5 %``
    state: Literal["done", "now", "ahead", "failed"]
    note: str = ""


def track(stages: Sequence[Stage], *, title: str, width: float = 720) -> str:
    """Return the stages of a release as stations of one line, and where it stands."""
    if not stages:
        return ""
    step = width / len(stages)
    y = 18.0
    places = [step * (i + 0.5) for i in range(len(stages))]
    parts = []
    for index in range(1, len(stages)):
        passed = stages[index].state != "ahead"
        parts.append(
            el(
                "line",
                x1=places[index - 1],
                x2=places[index],
                y1=y,
                y2=y,
                class_=f"rail {'passed' if passed else ''}".strip(),
            )
        )
    for stage, at in zip(stages, places, strict=True):
        parts.append(_station(stage, at, y))
        strong = "strong" if stage.state in {"now", "failed"} else "ink"
        parts.append(svg.label(stage.name, x=at, y=y + 28, class_=strong, anchor="middle"))
        note = svg.fit(stage.note, step - 4)
        parts.append(svg.label(note, x=at, y=y + 44, class_="tick", anchor="middle"))
    said = "; ".join(f"{s.name}: {s.state}" for s in stages)
    return svg.document(*parts, width=width, height=70.0, title=title, summary=said, class_="track")


def _station(stage: Stage, x: float, y: float) -> str:
    if stage.state == "now":
        return el("circle", cx=x, cy=y, r=9, class_="halo") + el(
            "circle", cx=x, cy=y, r=5, class_="station now"
        )
    if stage.state == "failed":
        left, right = f"{x - 5:.1f}", f"{x + 5:.1f}"
        d = f"M{left} {y - 5}L{right} {y + 5}M{right} {y - 5}L{left} {y + 5}"
        return el("circle", cx=x, cy=y, r=9, class_="station clear") + el(
            "path", d=d, class_="cross"
        )
    if stage.state == "done":
        d = f"M{x - 3.5:.1f} {y}L{x - 1:.1f} {y + 3}L{x + 4:.1f} {y - 3.5}"
        return el("circle", cx=x, cy=y, r=8, class_="station done") + el(
            "path", d=d, class_="tickmark"
        )
    return el("circle", cx=x, cy=y, r=5, class_="station ahead")


def _zone(low: float | None, high: float | None, y: Linear, width: float) -> list[str]:
    if low is None and high is None:
        return []
    upper = y.end if high is None else y(high)
    lower = y.start if low is None else y(low)
    parts = [_bar(0.0, upper, width, lower, "zone")]
    parts += [
        el("line", x1=0, x2=width, y1=y(b), y2=y(b), class_="line-rule bound")
        for b in (low, high)
        if b is not None
    ]
    return parts


def _runs(values: Sequence[float | None], x: Linear, y: Linear, color: str) -> list[str]:
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        spot = next(finite([value]), None)
        if spot is None:
            runs.append([])
        else:
            runs[-1].append((x(index), y(spot)))
    return [el("path", d=svg.path(r), class_=f"line {color}") for r in runs if len(r) > 1]


def _shares(counts: Sequence[float]) -> list[float]:
    known = [max(next(finite([c]), 0.0), 0.0) for c in counts]
    total = sum(known)
    return [c / total for c in known] if total > 0 else []


def _bar(left: float, top: float, width: float, bottom: float, class_: str, *children: str) -> str:
    return el(
        "rect",
        *children,
        x=left,
        y=top,
        width=max(width, 0.5),
        height=max(bottom - top, 0.0),
        class_=class_,
    )


def _arm(arm: Arm, x: Linear, y: float, width: float, say: Callable[[float], str]) -> list[str]:
    parts = [svg.label(svg.fit(arm.name, x.start - 10), x=0.0, y=y + 4, class_="ink")]
    low, high = next(finite([arm.low]), None), next(finite([arm.high]), None)
    if low is not None and high is not None:
        parts.append(el("line", x1=x(low), x2=x(high), y1=y, y2=y, class_=f"whisker {arm.color}"))
    parts += [
        el("circle", cx=x(value), cy=y, r=5, class_=f"dot {arm.color}")
        for value in finite([arm.value])
    ]
    words = _said(arm, say)
    parts.append(svg.label(words, x=width, y=y + 4, class_="ink", anchor="end"))
    return parts


def _said(arm: Arm, say: Callable[[float], str]) -> str:
    low, high = next(finite([arm.low]), None), next(finite([arm.high]), None)
    words = say(arm.value)
    return words if low is None or high is None else f"{words} ({say(low)} … {say(high)})"
