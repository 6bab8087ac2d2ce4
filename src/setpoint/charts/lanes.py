"""Lanes: what lasted, as bars and flags on the shared x axis, with words where they fit."""

import math

from setpoint.charts import svg
from setpoint.charts.figure import Lane, Span
from setpoint.charts.scales import Linear
from setpoint.charts.svg import el

#: Of one lane, in px.
HEIGHT = 24.0


def draw_lane(lane: Lane, x: Linear, top: float) -> str:
    """Return one lane: its title at the left, its hairline, its spans in their order."""
    ends = [*(span.start for span in lane.spans), math.inf][1:]
    return "".join(
        [
            svg.label(lane.title, x=0.0, y=top + 14, class_="strong"),
            el("line", x1=x.start, x2=x.end, y1=top + 18, y2=top + 18, class_="grid"),
            *(_span(span, x, top, free) for span, free in zip(lane.spans, ends, strict=True)),
        ]
    )


def _span(span: Span, x: Linear, top: float, free: float) -> str:
    """Draw one span; its text goes inside, else behind it if that room is `free`."""
    start = max(x(span.start), x.start)
    end = x.end if span.end is None else min(x(span.end), x.end)
    if end < x.start or start > x.end:
        return ""
    if span.shape == "flag":
        shape = _flag(span, start, max(end, start + 3), top)
    else:
        shape = svg.box(start, top + 4, max(end, start + 3), top + 16, f"fill {span.color}", 2)
    parts = [el("title", svg.text(span.title)), shape]
    parts.append(_span_text(span, start, max(end, start + 3), top, _limit(x, free)))
    group = el("g", *parts, class_=f"span {span.mark}".strip())
    return el("a", group, href=span.href) if span.href else group


def _limit(x: Linear, free: float) -> float:
    return min(x(free) if math.isfinite(free) else x.end + 6, x.end + 6)


def _span_text(span: Span, start: float, end: float, top: float, limit: float) -> str:
    """Say what the span is, inside or behind it; its first word where that is too long."""
    y = top + 14
    onfill = "ondark" if span.color in {"c1", "c3", "c4"} else "onfill"
    first = span.text.partition(" ")[0]
    for words in dict.fromkeys((span.text, first)):
        wide = svg.width_of(words) + 8
        if span.shape == "bar" and wide <= end - start:
            return svg.label(words, x=start + 5, y=y, class_=onfill)
        if end + wide <= limit:
            return svg.label(words, x=end + 5, y=y, class_="tick")
    return ""


def _flag(span: Span, start: float, end: float, top: float) -> str:
    """A triangle where it began, a thin line as long as it lasts."""
    y = top + 10
    line = el("line", x1=start, x2=end, y1=y, y2=y, class_=f"lasting {span.color}")
    points = f"{start - 5:.1f},{y + 5:.1f} {start + 5:.1f},{y + 5:.1f} {start:.1f},{y - 5:.1f}"
    return line + el("polygon", points=points, class_=f"fill {span.color}")
