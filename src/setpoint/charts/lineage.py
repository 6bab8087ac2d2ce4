"""Where something comes from, as a picture: columns of boxes joined left to right."""

from collections.abc import Sequence

from msgspec import Struct

from setpoint.charts import svg
from setpoint.charts.svg import el

_BOX = 46.0
_ROW = 60.0
#: Narrower than this in px, the picture stands: causes above, effects below.
_LYING = 600


class Node(Struct, frozen=True, kw_only=True):
    """One thing of the lineage; `column` counts from the origin at the left."""

    key: str
    column: int
    kind: str  #: ``dataset``, ``run``
    name: str
    href: str = ""
    color: str = "muted"


def lineage(
    nodes: Sequence[Node],
    edges: Sequence[tuple[str, str]],
    *,
    title: str,
    width: float = 1120,
) -> str:
    """Return boxes in columns, joined by curves from cause to effect (pairs of keys)."""
    columns = sorted({node.column for node in nodes})
    if not columns:
        return ""
    if width < _LYING:
        return _standing(nodes, edges, title=title, width=width)
    step = width / len(columns)
    box = min(step - 44, 220.0)
    rows = max(sum(n.column == c for n in nodes) for c in columns)
    height = rows * _ROW
    places: dict[str, tuple[float, float]] = {}
    for index, column in enumerate(columns):
        inside = [n for n in nodes if n.column == column]
        offset = (height - len(inside) * _ROW) / 2
        left = index * (width - box) / max(len(columns) - 1, 1)
        for row, node in enumerate(inside):
            places[node.key] = (left, offset + row * _ROW + (_ROW - _BOX) / 2)
    parts = [_edge(places[a], places[b], box) for a, b in edges if a in places and b in places]
    parts += [_node(node, *places[node.key], box) for node in nodes]
    said = "; ".join(f"{a} to {b}" for a, b in edges)
    return svg.document(
        *parts, width=width, height=height, title=title, summary=said, class_="lineage"
    )


def _standing(
    nodes: Sequence[Node], edges: Sequence[tuple[str, str]], *, title: str, width: float
) -> str:
    """Return the same picture from top to bottom."""
    columns = sorted({node.column for node in nodes})
    places: dict[str, tuple[float, float, float]] = {}
    for row, column in enumerate(columns):
        inside = [n for n in nodes if n.column == column]
        box = min((width - 12 * (len(inside) - 1)) / len(inside), 220.0)
        left = (width - box * len(inside) - 12 * (len(inside) - 1)) / 2
        for index, node in enumerate(inside):
            places[node.key] = (left + index * (box + 12), row * (_BOX + 32), box)
    parts = []
    for a, b in edges:
        if a in places and b in places:
            x1, y1 = places[a][0] + places[a][2] / 2, places[a][1] + _BOX
            x2, y2 = places[b][0] + places[b][2] / 2, places[b][1]
            middle = (y1 + y2) / 2
            bend = f"{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f}"
            d = f"M{x1:.1f} {y1:.1f}C{bend} {x2:.1f} {y2:.1f}"
            parts.append(el("path", d=d, class_="edge"))
    parts += [_node(node, *places[node.key]) for node in nodes]
    return svg.document(
        *parts,
        width=width,
        height=len(columns) * (_BOX + 32) - 32,
        title=title,
        summary="; ".join(f"{a} to {b}" for a, b in edges),
        class_="lineage",
    )


def _edge(start: tuple[float, float], end: tuple[float, float], box: float) -> str:
    x1, y1 = start[0] + box, start[1] + _BOX / 2
    x2, y2 = end[0], end[1] + _BOX / 2
    middle = (x1 + x2) / 2
    bend = f"{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f}"
    d = f"M{x1:.1f} {y1:.1f}C{bend} {x2:.1f} {y2:.1f}"
    return el("path", d=d, class_="edge")


def _node(node: Node, x: float, y: float, box: float) -> str:
    group = el(
        "g",
        el("title", svg.text(f"{node.kind} {node.name}")),
        el("rect", x=x, y=y, width=box, height=_BOX, rx=6, class_="node"),
        el("rect", x=x, y=y, width=4, height=_BOX, rx=2, class_=f"fill {node.color}"),
        svg.label(node.kind, x=x + 14, y=y + 18, class_="tick"),
        svg.label(svg.fit(node.name, box - 22), x=x + 14, y=y + 35, class_="strong"),
    )
    return el("a", group, href=node.href) if node.href else group
