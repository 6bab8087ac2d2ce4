"""From what a handler gathered to an answer: HTML, or its tables and charts as files."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from msgspec import Struct, field
from sqlalchemy import Connection
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from setpoint import __version__
from setpoint.charts.draw import draw, layers, variants
from setpoint.charts.figure import Figure
from setpoint.charts.palette import of_version, standalone
from setpoint.core.operations import Operation
from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound
from setpoint.server.ui import words

P = ParamSpec("P")
T = TypeVar("T")

_FIGURE = """\
<figure class="chart" tabindex="0" aria-label="{title}; arrow keys read values">
{variants}
<menu class="export">
<li><a href="{url}" download="{name}.svg">SVG</a></li>
<li><button type="button" data-png="{url}" data-name="{name}">PNG</button></li>
</menu>
<script type="application/json">{data}</script>
</figure>"""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Ask(Struct, frozen=True, kw_only=True):
    """What a page was asked, and what it may use to answer."""

    backend: LocalBackend
    path: str
    query: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)  #: query and form; names repeat
    theme: str = "auto"
    partial: bool = False  #: a part of a page is asked for, by a script

    def read(
        self,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """Run a query that only reads, in a transaction of its own."""
        with self.backend.reading() as conn:
            return query(conn, *args, **more)

    def call(self, op: Operation[Any, Any], cmd: Any) -> Any:
        """Run an operation."""
        return self.backend.call(op, cmd)

    @property
    def now(self) -> datetime:
        """The time by the store's clock."""
        return self.backend.clock.now()


class Table(Struct, frozen=True, kw_only=True):
    """The rows behind a table of a page, for saving."""

    columns: list[str]
    rows: list[list[Any]]


#: A chart on axes, or a function from a width in px to SVG.
Drawn = Figure | Callable[[float], str]

#: Widths of what is drawn by a function: it stands in columns too.
_SMALL = {"small": 340, "medium": 520, "large": 1120}


class Page(Struct, frozen=True, kw_only=True):
    """A page: which template, what it shows, and what of it can be saved."""

    template: str
    title: str
    active: str  #: the entry of the navigation it belongs to
    values: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Drawn] = field(default_factory=dict)  #: by name
    tables: dict[str, Table] = field(default_factory=dict)
    status: int = 200
    saved_as: str = ""  #: the file it is saved as; empty: it is shown


class Redirect(Struct, frozen=True, kw_only=True):
    """Where to go after something was done."""

    to: str


class Download(Struct, frozen=True, kw_only=True):
    """Bytes made while they are sent, for what is too large to be a `Table`."""

    media: str
    parts: Iterator[bytes]
    name: str = ""  #: of the file it is saved as; empty: shown in the browser
    headers: dict[str, str] = field(default_factory=dict)


#: What a page's address may be answered with.
Answer = Page | Redirect | Download


def environment() -> Environment:
    """Return the templates, with the words and pictures they use."""
    made = Environment(
        loader=PackageLoader("setpoint.server.ui"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = (
        "number",
        "whole",
        "percent",
        "size",
        "short",
        "said",
        "tone",
        "span",
        "subject",
        "page_of",
        "value",
    )
    made.filters.update({name: getattr(words, name) for name in names})
    made.globals.update(
        version_link=words.version,
        version_color=of_version,
        release=__version__,
        stamp=words.stamp,
        run_title=words.run_title,
        run_label=words.run_label,
    )
    return made


def answer(templates: Environment, ask: Ask, page: Answer, frame: dict[str, Any]) -> Response:
    """Return `page` in the format that the query asks for; HTML if it does not.

    Raises:
        NotFound: If it asks for a chart or table that the page does not have.
    """
    if isinstance(page, Redirect):
        return RedirectResponse(page.to, status_code=303)
    if isinstance(page, Download):
        return _sent(page)
    wanted = ask.query.get("format", "html")
    if wanted == "svg":
        return _picture(page, ask.query.get("chart", ""))
    if wanted in {"csv", "json"}:
        return _table(page, ask.query.get("table", ""), wanted)
    now = ask.now

    def when(at: datetime | None) -> Markup:
        return words.when(at, now)

    def chart(name: str) -> Markup:
        return figure(page, name, ask)

    body = templates.get_template(page.template).render(
        {**frame, **page.values},
        page=page,
        ask=ask,
        now=now,
        when=when,
        chart=chart,
        save=lambda table: _save(ask, table),
    )
    headers = {"cache-control": "no-store"}
    if page.saved_as:
        headers["content-disposition"] = f'attachment; filename="{page.saved_as}"'
    return HTMLResponse(body, page.status, headers=headers)


def figure(page: Page, name: str, ask: Ask) -> Markup:
    """Return a chart of the page with its variants, values and ways to save it."""
    drawn = page.figures[name]
    if not isinstance(drawn, Figure):
        shown = [
            Markup('<div class="{}">{}</div>').format(kind, Markup(drawn(width)))  # noqa: S704
            for kind, width in _SMALL.items()
        ]
        return Markup('<figure class="chart">{}</figure>').format(Markup().join(shown))
    pictures = [
        Markup('<div class="{}">{}</div>').format(kind, Markup(picture))  # noqa: S704
        for kind, picture in variants(drawn).items()
    ]
    return Markup(_FIGURE).format(  # noqa: S704 - a constant
        title=drawn.title,
        variants=Markup().join(pictures),
        url=_url(ask, format="svg", chart=name),
        name=name,
        data=Markup(_readable(drawn)),  # noqa: S704 - JSON with < escaped
    )


def _readable(drawn: Figure) -> str:
    lines = [
        {
            "label": layer.name or layer.label or panel.title,
            "color": layer.color,
            "xs": list(layer.xs),
            "ys": list(layer.ys),
            "percent": panel.scale == "percent",
        }
        for panel in drawn.panels
        for layer in layers(panel)
        if len(layer.xs)
    ]
    return msgspec.json.encode(lines).decode().replace("<", "\\u003c")


def _save(ask: Ask, table: str) -> Markup:
    return Markup(
        '<menu class="export"><li><a href="{}" download>CSV</a></li>'
        '<li><a href="{}" download>JSON</a></li></menu>'
    ).format(_url(ask, format="csv", table=table), _url(ask, format="json", table=table))


def _url(ask: Ask, **more: str) -> str:
    kept = [pair for pair in ask.pairs if pair[0] not in more]
    return f"{ask.path}?{urlencode([*kept, *more.items()])}"


def _picture(page: Page, name: str) -> Response:
    drawn = page.figures.get(name)
    if drawn is None:
        hint = f"it has: {', '.join(page.figures) or 'none'}"
        raise NotFound(f"this page has no chart {name!r}", hint=hint)
    svg = draw(drawn) if isinstance(drawn, Figure) else drawn(_SMALL["large"])
    return Response(standalone(svg), media_type="image/svg+xml")


def _table(page: Page, name: str, wanted: str) -> Response:
    table = page.tables.get(name) or next(iter(page.tables.values()), None)
    if table is None or (name and name not in page.tables):
        hint = f"it has: {', '.join(page.tables) or 'none'}"
        raise NotFound(f"this page has no table {name!r}", hint=hint)
    if wanted == "json":
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        return Response(msgspec.json.encode(rows, enc_hook=str), media_type="application/json")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table.columns)
    writer.writerows([cell(value) for value in row] for row in table.rows)
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8")


def _sent(page: Download) -> Response:
    headers = dict(page.headers)
    if page.name:
        headers["content-disposition"] = f'attachment; filename="{page.name}"'
    return StreamingResponse(
        iterate_in_threadpool(page.parts), media_type=page.media, headers=headers
    )


def cell(value: Any) -> Any:
    """Return a cell for a spreadsheet, which must not take text for a formula."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict | list):
        return msgspec.json.encode(value, enc_hook=str).decode()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
