"""From values to places: domains that fit the data, and the mapping onto pixels."""

import math
from collections.abc import Iterable, Iterator

from msgspec import Struct

from setpoint.charts.figure import Figure, Panel

#: Log values are cut here, so that an e-value of 1e-300 does not flatten the rest.
LOG_FLOOR = -4.0
LOG_CEILING = 12.0


class Linear(Struct, frozen=True):
    """Maps [low, high] onto [start, end] px and keeps what lies outside at the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, -0.02), 1.02) * (self.end - self.start)


def finite(values: Iterable[float | None]) -> Iterator[float]:
    """Yield the values that can be drawn."""
    return (v for v in values if v is not None and math.isfinite(v) and abs(v) < 1e200)


def placed(value: float | None, panel: Panel) -> float | None:
    """Return where `value` lies on the panel's own scale; None if nowhere."""
    if value is None or math.isnan(value):
        return None
    if panel.scale == "log":
        return min(max(math.log10(value), LOG_FLOOR), LOG_CEILING) if value > 0 else LOG_FLOOR
    return value if math.isfinite(value) and abs(value) < 1e200 else None


def x_domain(figure: Figure) -> tuple[float, float]:
    """Return the ends of the shared x axis, never equal."""
    xs: list[float] = []
    for panel in figure.panels:
        for line in panel.lines:
            xs += finite(line.xs)
        for area in panel.areas:
            xs += finite(area.xs)
    xs += [
        x for lane in figure.lanes for span in lane.spans for x in finite((span.start, span.end))
    ]
    low = figure.start if figure.start is not None else min(xs, default=0.0)
    high = figure.end if figure.end is not None else max(xs, default=1.0)
    if high <= low:
        room = 43200.0 if figure.x == "time" else max(abs(low) * 0.1, 0.5)
        low, high = low - room, high + room
    return low, high


def y_domain(panel: Panel) -> tuple[float, float] | None:
    """Return the ends of the panel's y axis, with room; None where there is no data."""
    values = list(finite(placed(v, panel) for v in _values(panel)))
    if not values:
        return None
    rules = [v for rule in panel.rules for v in finite([placed(rule.value, panel)])]
    low, high = min([*values, *rules]), max([*values, *rules])
    if panel.areas:
        low = 0.0
    room = 0.08 * (high - low) or max(abs(high) * 0.1, 0.05)
    bottom = low - room if panel.low is None else panel.low
    top = high + room if panel.high is None else panel.high
    if panel.areas:
        bottom = 0.0
    return (bottom, top) if top > bottom else (bottom, bottom + max(abs(bottom) * 0.1, 1.0))


def stack(panel: Panel) -> list[list[float]]:
    """Return the upper edges of the panel's areas, from the lowest layer up."""
    edges: list[list[float]] = []
    below = [0.0] * max((len(area.xs) for area in panel.areas), default=0)
    for area in panel.areas:
        heights = [y if y is not None and 0 < y < 1e200 else 0.0 for y in area.ys]
        heights += [0.0] * (len(below) - len(heights))
        below = [b + h for b, h in zip(below, heights, strict=True)]
        edges.append(below)
    return edges


def _values(panel: Panel) -> Iterator[float | None]:
    for line in panel.lines:
        yield from line.ys
        yield from line.low or ()
        yield from line.high or ()
    for edge in stack(panel)[-1:]:
        yield from edge
