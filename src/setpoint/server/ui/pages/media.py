"""What a run logged besides numbers, drawn by what its manifest says it is."""

from typing import Any

import msgspec
from markupsafe import Markup
from msgspec import Struct, field

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.charts.draw import draw
from setpoint.charts.figure import Area, Figure, Line, Panel
from setpoint.errors import SetpointError
from setpoint.runs.entities import Run
from setpoint.server.ui import markdown
from setpoint.server.ui.page import Ask

FOLDER = "media/"
_NAMES = 24  #: media names shown
_STEPS = 3  #: of each, the newest
_LARGEST = 256 * 1024  #: bytes of a manifest
_PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp")
_WIDTH = 480  #: px of a drawing


class Medium(Struct, frozen=True, kw_only=True):
    """One medium as a page shows it."""

    kind: str  #: image, audio, text, table, drawing, confusion, file
    step: int
    caption: str = ""
    url: str = ""  #: of its file
    html: Markup = field(default_factory=Markup)
    text: str = ""
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class _Manifest(Struct, frozen=True):
    """What manifests of all types have; the rest is read as its type needs it."""

    type: str
    step: int = 0
    caption: str = ""
    file: dict[str, Any] = field(default_factory=dict)
    format: str = ""
    text: str = ""
    columns: list[dict[str, str]] = field(default_factory=list)
    data: list[list[Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    counts: list[Any] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    x: str = ""
    y: str = ""


def of(ask: Ask, run: Run) -> dict[str, list[Medium]]:
    """Return the newest media of a run by their name."""
    named: dict[str, list[str]] = {}
    for path in run.artifacts:
        if path.startswith(FOLDER) and path.endswith(".json") and path.count("/") > 1:
            named.setdefault(path.removeprefix(FOLDER).rpartition("/")[0], []).append(path)
    store = open_store(ask.backend.settings)
    found = {}
    for name, paths in sorted(named.items())[:_NAMES]:
        newest = sorted(paths, key=_order, reverse=True)[:_STEPS]
        media = [_medium(store, run, path, name) for path in newest]
        found[name] = [each for each in media if each is not None]
    return {name: media for name, media in found.items() if media}


def _order(path: str) -> tuple[int, ...]:
    numbers = path.rpartition("/")[2].removesuffix(".json").split("-")
    return tuple(int(each) for each in numbers if each.isdecimal())


def _medium(store: ObjectStore, run: Run, path: str, name: str) -> Medium | None:
    """Return a medium; None for JSON that is not a manifest, e.g. the file of a table."""
    found = run.artifacts[path]
    if found.size > _LARGEST:
        return None
    try:
        said = msgspec.json.decode(store.get(found.address), type=_Manifest)
    except (msgspec.DecodeError, SetpointError):
        return None
    file = str(said.file.get("path", ""))
    url = f"/runs/{run.id}/files/{file}" if file in run.artifacts else ""
    plain = Medium(kind="file", step=said.step, caption=said.caption, url=url)
    return msgspec.structs.replace(plain, **_shown(said, name, url))


def _shown(said: _Manifest, name: str, url: str) -> dict[str, Any]:
    match said.type:
        case "image" | "figure" if url.endswith(_PICTURES):
            return {"kind": "image"}
        case "audio":
            return {"kind": "audio"}
        case "text":
            html = markdown.render(said.text) if said.format == "markdown" else Markup()
            return {"kind": "drawing" if html else "text", "text": said.text, "html": html}
        case "table" | "confusion":
            return _table(said)
        case "histogram" | "curves":
            figure = (_histogram if said.type == "histogram" else _curves)(said, name)
            return {"kind": "drawing", "html": Markup(draw(figure, _WIDTH))}  # noqa: S704 - ours
    return {}


def _table(said: _Manifest) -> dict[str, Any]:
    if said.type == "confusion":
        named = zip(said.labels, said.counts, strict=False)
        counted = [[label, *map(str, row)] for label, row in named]
        return {"kind": "table", "head": ["truth, then predicted", *said.labels], "rows": counted}
    columns = [[str(each)[:200] for each in column] for column in said.data]
    rows = [list(row) for row in zip(*columns, strict=False)]
    return {"kind": "table", "head": [each.get("name", "") for each in said.columns], "rows": rows}


def _histogram(said: _Manifest, name: str) -> Figure:
    """Return a histogram as steps: each count stands from its bin's edge to the next."""
    xs = [edge for edge in said.edges for _ in (0, 1)][1:-1]
    ys = [float(count) for count in said.counts for _ in (0, 1)]
    areas = [Area(label="", xs=xs, ys=ys, color="accent")] if xs else []
    panel = Panel(title=name, areas=areas, height=140)
    return Figure(title=name, summary="counts by value", x="number", panels=[panel])


def _curves(said: _Manifest, name: str) -> Figure:
    lines = [
        Line(
            label=str(curve.get("name", "")) if len(said.curves) > 1 else "",
            xs=curve.get("x", []),
            ys=curve.get("y", []),
            color=f"c{i % 8}",
        )
        for i, curve in enumerate(said.curves)
    ]
    panel = Panel(title=said.y or name, lines=lines, height=180)
    return Figure(title=name, summary=name, x="number", x_title=said.x, panels=[panel])
