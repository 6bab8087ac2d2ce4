"""Draws a figure: lanes above, panels below, one x axis for all, labels that never meet."""

import math
from collections.abc import Sequence

from msgspec import Struct

from setpoint.charts import svg, ticks
from setpoint.charts.figure import Area, Figure, Line, Panel, Rule
from setpoint.charts.lanes import HEIGHT, draw_lane
from setpoint.charts.scales import Linear, finite, placed, stack, x_domain, y_domain
from setpoint.charts.svg import el

#: Widths in px of the variants that a page carries; the style sheet shows the fitting one.
WIDTHS = {"narrow": 358, "middle": 720, "wide": 1120}

_TITLE = 26.0
_GAP = 14.0
_AXIS = 26.0
_LETTER = 13.0  # least distance of two labels' baselines


Domain = tuple[float, float] | None


class Plot(Struct, frozen=True):
    """The room of one panel, and its two scales."""

    left: float
    right: float
    top: float
    bottom: float
    x: Linear
    y: Linear


def draw(figure: Figure, width: float = 1120, class_: str = "") -> str:
    """Return `figure` as SVG, `width` px wide; its height follows from what is in it."""
    return _draw(figure, width, x_domain(figure), _domains(figure), class_)


def variants(figure: Figure) -> dict[str, str]:
    """Return `figure` in each of `WIDTHS`, by its name."""
    ends, domains = x_domain(figure), _domains(figure)
    return {name: _draw(figure, width, ends, domains, "") for name, width in WIDTHS.items()}


def _domains(figure: Figure) -> list[Domain]:
    return [y_domain(panel) for panel in figure.panels]


def _draw(
    figure: Figure, width: float, ends: tuple[float, float], domains: list[Domain], class_: str
) -> str:
    low, high = ends
    direct = width >= 600
    left = _gutter(figure, domains)
    right = width - (_margin(figure) if direct else 10.0)
    x = Linear(low, high, left, right)
    parts: list[str] = []
    top = 4.0
    for lane in figure.lanes:
        parts.append(draw_lane(lane, x, top))
        top += HEIGHT
    lanes_end = top
    if figure.lanes:
        top += 6
    bodies: list[str] = []
    for panel, domain in zip(figure.panels, domains, strict=True):
        body, top = _panel(panel, domain, x, top, direct=direct)
        bodies.append(body)
    bottom = top - _GAP
    verticals = [
        el("line", x1=x(at), x2=x(at), y1=lanes_end - 6, y2=bottom, class_="vertical rule")
        for at in finite(figure.verticals)
        if low <= at <= high
    ]
    axis = _x_axis(figure, x, bottom)
    height = bottom + _AXIS + (14 if figure.x_title else 0)
    return svg.document(
        *verticals,
        *parts,
        *bodies,
        axis,
        width=width,
        height=height,
        title=figure.title,
        summary=figure.summary,
        class_=class_,
        left=left,
        right=right,
        low=low,
        high=high,
        bottom=bottom,
        kind=figure.x,
    )


def _gutter(figure: Figure, domains: list[Domain]) -> float:
    lanes = [svg.width_of(lane.title) + 10 for lane in figure.lanes]
    axes = []
    for panel, domain in zip(figure.panels, domains, strict=True):
        if domain:
            axes += [svg.width_of(t.text) + 12 for t in _y_ticks(panel, *domain)]
    return min(max([34.0, *lanes, *axes]), 92.0)


def _margin(figure: Figure) -> float:
    """Room right of the panels for the labels of lines and rules."""
    names = [
        name
        for panel in figure.panels
        for name in (
            *(layer.label for layer in layers(panel)),
            *(rule.text for rule in panel.rules),
        )
    ]
    return min(max((svg.width_of(n) + 16 for n in names), default=12.0), 170.0)


def _panel(
    panel: Panel, domain: Domain, x: Linear, top: float, *, direct: bool
) -> tuple[str, float]:
    """Return one panel's markup and where the next begins."""
    title = svg.label(panel.title, x=0.0, y=top + 12, class_="strong")
    start = top + _TITLE
    legend = ""
    if not direct:
        legend, start = _legend(panel, x.end, start)
    end = start + panel.height
    base = el("line", x1=x.start, x2=x.end, y1=end, y2=end, class_="axis")
    if domain is None:
        words = svg.label(
            panel.empty,
            x=(x.start + x.end) / 2,
            y=(start + end) / 2,
            class_="empty",
            anchor="middle",
        )
        return el("g", title, base, words, class_="panel"), end + _GAP + 8
    y = Linear(domain[0], domain[1], end, start)
    plot = Plot(x.start, x.end, start, end, x, y)
    body = [
        title,
        legend,
        *_zones(panel, plot),
        *_y_axis(panel, plot),
        base,
        *_areas(panel, plot),
        *_bands(panel, plot),
        *(_rule(rule, panel, plot) for rule in panel.rules),
        *(_line(line, panel, plot) for line in panel.lines),
        *(_names(panel, plot) if direct else ()),
    ]
    return el("g", *body, class_="panel", data_top=start, data_bottom=end), end + _GAP + 8


def _zones(panel: Panel, plot: Plot) -> list[str]:
    parts = []
    for zone in panel.zones:
        low, high = placed(zone.low, panel), placed(zone.high, panel)
        upper = plot.top if high is None else max(plot.top, plot.y(high))
        lower = plot.bottom if low is None else min(plot.bottom, plot.y(low))
        if lower > upper:
            parts.append(svg.box(plot.left, upper, plot.right, lower, "zone"))
    return parts


def _y_ticks(panel: Panel, low: float, high: float) -> list[ticks.Tick]:
    count = max(2, int(panel.height // 34))
    if panel.scale == "log":
        return ticks.decades(low, high, count + 1)
    if panel.scale == "percent":
        found = ticks.numbers(low * 100, high * 100, count)
        return [ticks.Tick(t.at / 100, f"{t.text} %") for t in found]
    return ticks.numbers(low, high, count)


def _y_axis(panel: Panel, plot: Plot) -> list[str]:
    parts = []
    for tick in _y_ticks(panel, plot.y.low, plot.y.high):
        y = plot.y(tick.at)
        if y < plot.bottom - 1:
            parts.append(el("line", x1=plot.left, x2=plot.right, y1=y, y2=y, class_="grid"))
        parts.append(svg.label(tick.text, x=plot.left - 8, y=y + 4, class_="tick", anchor="end"))
    return parts


def _areas(panel: Panel, plot: Plot) -> list[str]:
    parts = []
    edges = stack(panel)
    below = [0.0] * len(edges[0]) if edges else []
    for area, above in zip(panel.areas, edges, strict=True):
        for first, last in _filled(below, above):
            part = slice(first, last)
            xs = [plot.x(t) for t in area.xs[part]]
            up = list(zip(xs, map(plot.y, above[part]), strict=True))
            down = list(zip(xs, map(plot.y, below[part]), strict=True))
            if len(up) == 1:
                up, down = _wide(up), _wide(down)
            shape = svg.path([*up, *reversed(down)]) + "Z"
            parts.append(el("path", d=shape, class_=f"fill {area.color}"))
        below = above
    return parts


def _filled(below: list[float], above: list[float]) -> list[tuple[int, int]]:
    """Return where a layer has any height, as slices with one point of slope each side."""
    runs: list[tuple[int, int]] = []
    for index, (low, high) in enumerate(zip(below, above, strict=True)):
        if high <= low:
            continue
        first, last = max(index - 1, 0), min(index + 2, len(above))
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return runs


def _wide(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    ((x, y),) = points
    return [(x - 2, y), (x + 2, y)]


def _bands(panel: Panel, plot: Plot) -> list[str]:
    parts = []
    for line in panel.lines:
        if line.low is None or line.high is None:
            continue
        run: list[tuple[float, float, float]] = []
        for at, low, high in [
            *zip(line.xs, line.low, line.high, strict=False),
            (0, None, None),
        ]:
            bottom, top = placed(low, panel), placed(high, panel)
            if bottom is None or top is None:
                if len(run) > 1:
                    parts.append(_ribbon(run, line.color))
                run = []
            else:
                run.append((plot.x(at), plot.y(bottom), plot.y(top)))
    return parts


def _ribbon(run: list[tuple[float, float, float]], color: str) -> str:
    upper = [(x, max_y) for x, _, max_y in run]
    lower = [(x, min_y) for x, min_y, _ in reversed(run)]
    return el("path", d=svg.path([*upper, *lower]) + "Z", class_=f"band {color}")


def _line(line: Line, panel: Panel, plot: Plot) -> str:
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in zip(line.xs, line.ys, strict=False):
        spot = placed(value, panel)
        if spot is None or not math.isfinite(at):
            runs.append([])
        else:
            runs[-1].append((plot.x(at), plot.y(spot)))
    style = f"{line.color}{' dashed' if line.dashed else ''}{' faint' if line.faint else ''}"
    parts = [el("path", d=svg.path(run), class_=f"line {style}") for run in runs if len(run) > 1]
    alone = [run[0] for run in runs if len(run) == 1]
    if line.dots:
        alone = [spot for run in runs for spot in run]
    parts += [el("circle", cx=x, cy=y, r=3.0, class_=f"dot {style}") for x, y in alone]
    return "".join(parts)


def _rule(rule: Rule, panel: Panel, plot: Plot) -> str:
    value = placed(rule.value, panel)
    if value is None:
        return ""
    y = plot.y(value)
    return el("line", x1=plot.left, x2=plot.right, y1=y, y2=y, class_=f"line-rule {rule.kind}")


def _names(panel: Panel, plot: Plot) -> list[str]:
    """Name what is drawn at the right edge, pushed apart where names would meet."""
    wanted: list[tuple[float, str, str]] = []
    for rule in panel.rules:
        value = placed(rule.value, panel)
        if value is not None:
            wanted.append((plot.y(value), rule.text, f"{rule.kind}-text"))
    for line in panel.lines:
        last = [v for v in (placed(y, panel) for y in line.ys) if v is not None]
        if last:
            wanted.append((plot.y(last[-1]), line.label, f"name {line.color}"))
    below = 0.0
    for area, edge in zip(panel.areas, stack(panel), strict=True):
        if edge:
            wanted.append((plot.y((below + edge[-1]) / 2), area.label, f"name {area.color}"))
            below = edge[-1]
    wanted = sorted(each for each in wanted if each[1])
    places = spread([y for y, _, _ in wanted], plot.top + 4, plot.bottom)
    return [
        svg.label(svg.fit(name, 156.0), x=plot.right + 8, y=y + 4, class_=style)
        for y, (_, name, style) in zip(places, wanted, strict=True)
    ]


def spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Return `wanted` (ascending) moved as little as needed to lie a line apart."""
    places: list[float] = []
    for y in wanted:
        least = places[-1] + _LETTER if places else low
        places.append(max(y, least))
    limit = high
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], limit)
        limit = places[index] - _LETTER
    return places


def _legend(panel: Panel, right: float, top: float) -> tuple[str, float]:
    """Return names in rows above the panel, where there is no room beside it."""
    names: list[tuple[str, str]] = [
        (layer.label, layer.color) for layer in layers(panel) if layer.label
    ]
    names += [(rule.text, rule.kind) for rule in panel.rules if rule.text]
    if not names:
        return "", top
    x, y, parts = 0.0, top + 2, []
    for name, color in names:
        if x > 0 and x + svg.width_of(name) + 16 > right:
            x, y = 0.0, y + 15
        kind = color in {"bound", "limit", "rule"}
        key = (
            el("line", x1=x, x2=x + 10, y1=y - 4, y2=y - 4, class_=f"line-rule {color}")
            if kind
            else el("rect", x=x, y=y - 8, width=9, height=9, rx=2, class_=f"fill {color}")
        )
        parts += [key, svg.label(name, x=x + 14, y=y, class_="tick")]
        x += svg.width_of(name) + 28
    return el("g", *parts, class_="legend"), y + 10


def layers(panel: Panel) -> list[Line | Area]:
    """Return everything of the panel that has values over x."""
    return [*panel.lines, *panel.areas]


def _x_axis(figure: Figure, x: Linear, bottom: float) -> str:
    count = max(2, int((x.end - x.start) // (92 if figure.x == "time" else 72)))
    make = ticks.times if figure.x == "time" else ticks.numbers
    parts = []
    free = -1e9
    for tick in make(x.low, x.high, count):
        at, half = x(tick.at), svg.width_of(tick.text) / 2
        if at < x.start - 1 or at > x.end + 1:
            continue
        parts.append(el("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="axis"))
        if at - half > free:
            parts.append(svg.label(tick.text, x=at, y=bottom + 17, class_="tick", anchor="middle"))
            free = at + half + 6
    if figure.x_title:
        middle = (x.start + x.end) / 2
        parts.append(
            svg.label(figure.x_title, x=middle, y=bottom + 33, class_="tick", anchor="middle")
        )
    return el("g", *parts, class_="x-axis")
