"""Blocks of a report that are drawn: charts of runs, and tables of them.

::

    ```chart
    metrics: loss, accuracy
    runs: run_01J…, run_01K…
    x: relative
    smooth: 0.6
    log: y
    ```

Runs are named, or found as in the runs table (``experiment``, ``filter``, ``order``, ``limit``):
then the block shows whatever is found when it is looked at. A block ``runs`` is a table with the
same keys and ``columns``.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from markupsafe import Markup
from msgspec import Struct, field

from setpoint.charts.draw import draw
from setpoint.charts.figure import Figure, Kind, Line, Panel
from setpoint.errors import Invalid, NotFound, SetpointError
from setpoint.runs.columns import arrays
from setpoint.runs.commands import Curves, Histories, SearchRuns
from setpoint.runs.entities import Run, Series, Value
from setpoint.runs.service import ShowRun, histories, search, show
from setpoint.server.ui import words
from setpoint.server.ui.page import Ask
from setpoint.server.ui.pages.runs import shown

_MOST = 50  #: runs in a block
_USUAL = 10  #: runs, where no limit is given
_ITEMS = 400  #: of a curve
_KEYS = {
    "chart": {
        *("metrics", "metric", "runs", "experiment", "filter", "order", "limit"),
        *("x", "smooth", "log", "height"),
    },
    "runs": {"runs", "experiment", "filter", "order", "limit", "columns"},
}


class Block(Struct, frozen=True, kw_only=True):
    """What a block says."""

    metrics: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    experiment: str = ""
    filter: str = ""
    order: str = ""
    limit: int = _USUAL
    columns: list[str] = field(default_factory=list)
    x: str = "step"
    smooth: float = 0
    log: str = ""  #: x, y or xy
    height: int = 220  #: px


def parse(kind: str, text: str) -> Block:
    """Return what a block says.

    Raises:
        Invalid: With the line that cannot be read.
    """
    said: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, sign, value = (part.strip() for part in line.partition(":"))
        if not sign or key not in _KEYS[kind]:
            hint = f"one 'key: value' a line; keys are {', '.join(sorted(_KEYS[kind]))}"
            raise Invalid(
                f"a {kind} block cannot say {line.strip()!r}", where=f"line {number}", hint=hint
            )
        name = "metrics" if key == "metric" else key
        said[name] = _split(value) if name in {"metrics", "runs", "columns"} else value
    try:
        found = msgspec.convert(said, Block, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"the {kind} block cannot be read: {error}", hint="e.g. limit: 10") from None
    if kind == "chart" and not found.metrics:
        raise Invalid("a chart block needs metrics", hint="e.g. metrics: loss, accuracy")
    if found.x not in {"step", "time", "relative"} or not 0 <= found.smooth < 1:
        raise Invalid("x is step, time or relative; smooth is from 0 to below 1")
    return found


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class Blocks:
    """Draws the blocks of one report.

    Args:
        ask: What may be asked.
        frozen: Whether it is for a file, which can ask nobody later on.
    """

    def __init__(self, ask: Ask, *, frozen: bool) -> None:
        self._ask = ask
        self._frozen = frozen

    def chart(self, text: str) -> Markup:
        """Return a chart block as HTML, or what is wrong with it."""
        try:
            return self._chart(parse("chart", text))
        except SetpointError as error:
            return _wrong(error)

    def runs(self, text: str) -> Markup:
        """Return a block of runs as HTML, or what is wrong with it."""
        try:
            return self._table(parse("runs", text))
        except SetpointError as error:
            return _wrong(error)

    def _found(self, block: Block) -> list[Run]:
        if block.runs:
            return [self._ask.call(show, ShowRun(run=each)) for each in block.runs[:_MOST]]
        cmd = SearchRuns(
            experiments=[block.experiment] if block.experiment else [],
            filter=block.filter,
            order=[block.order] if block.order else [],
            limit=max(1, min(block.limit, _MOST)),
        )
        runs: list[Run] = self._ask.call(search, cmd).runs
        return runs

    def _chart(self, block: Block) -> Markup:
        runs = self._found(block)
        if not runs:
            raise NotFound("no run is like that", hint="look at the filter in the runs table")
        ids = [run.id for run in runs]
        cmd = Histories(runs=ids, metrics=block.metrics, at_most=_ITEMS)
        curves: Curves = self._ask.call(histories, cmd)
        drawn = Markup().join(self._one(block, runs, metric, curves) for metric in block.metrics)
        legend = Markup().join(self._named(run, i) for i, run in enumerate(runs))
        return Markup('<div class="block">{}<ul class="legend">{}</ul></div>').format(drawn, legend)

    def _one(self, block: Block, runs: list[Run], metric: str, curves: Curves) -> Markup:
        own = Curves(curves=[curve for curve in curves.curves if curve.metric == metric])
        spec = {
            "metric": metric,
            "runs": shown(runs),
            "height": block.height,
            "frozen": self._frozen,
            "view": {
                "x": block.x,
                "smooth": block.smooth,
                "log": "y" in block.log,
                "logx": "x" in block.log,
                "from": None,
                "to": None,
            },
        }
        data = msgspec.json.encode(own).decode().replace("<", "\\u003c")
        return Markup(
            '<curve-chart class="chart curve" data-spec="{}">{}'
            '<script type="application/json">{}</script></curve-chart>'
        ).format(msgspec.json.encode(spec).decode(), _still(block, runs, metric, own), Markup(data))  # noqa: S704 - < is escaped

    def _named(self, run: Run, index: int) -> Markup:
        name = words.run_title(run)
        if self._frozen:
            return Markup('<li><span class="series c{}">{}</span></li>').format(index % 8, name)
        return Markup('<li><a class="series c{}" href="/runs/{}">{}</a></li>').format(
            index % 8, run.id, name
        )

    def _table(self, block: Block) -> Markup:
        runs = self._found(block)
        columns = block.columns or sorted({f"metrics.{n}" for run in runs for n in run.metrics})[:6]
        head = Markup().join(
            Markup('<th scope="col">{}</th>').format(each.partition(".")[2] or each)
            for each in ("run", "state", *columns)
        )
        body = Markup().join(self._row(run, columns) for run in runs)
        return Markup(
            '<div class="scroll block" tabindex="0" role="group" aria-label="Runs"><table>'
            "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
        ).format(head, body)

    def _row(self, run: Run, columns: list[str]) -> Markup:
        name: Markup | str = words.run_title(run)
        if not self._frozen:
            name = Markup('<a href="/runs/{}">{}</a>').format(run.id, name)
        cells = Markup().join(
            Markup('<td class="{}">{}</td>').format(
                "number" if isinstance(v, int | float) else "", words.value(v)
            )
            for v in (words.of_run(run, column) for column in columns)
        )
        return Markup('<tr><th scope="row">{}</th><td>{}</td>{}</tr>').format(
            name, run.status.value, cells
        )


def _cell(value: Value) -> Markup:
    kind = "number" if isinstance(value, int | float) else ""
    return Markup('<td class="{}">{}</td>').format(kind, words.value(value))


def _still(block: Block, runs: list[Run], metric: str, curves: Curves) -> Markup:
    """Return the chart as a picture, for readers without scripts."""
    colors = {run.id: (f"c{i % 8}", run) for i, run in enumerate(runs)}
    lines = []
    for curve in curves.curves:
        band = curve.band
        steps, at, values = arrays(
            Series(name=metric, steps=band.steps, at=band.at, values=band.last)
        )
        color, run = colors[curve.run]
        xs = steps.astype(float) if block.x == "step" else at / 1e6
        if block.x == "relative":
            xs = xs - run.started_at.timestamp()
        label = words.run_title(run) if len(runs) <= 8 else ""
        lines.append(Line(label="", name=label, xs=xs.tolist(), ys=values.tolist(), color=color))
    kind: Kind = "time" if block.x == "time" else "number"
    panel = Panel(title=metric, lines=lines, height=block.height - 60)
    figure = Figure(
        title=metric, summary=f"{len(lines)} curves", x=kind, x_title=block.x, panels=[panel]
    )
    return Markup(draw(figure, 720))  # noqa: S704 - ours


def _wrong(error: SetpointError) -> Markup:
    where = f" ({error.where})" if error.where else ""
    return Markup('<div class="notice is-off block"><p><b>{}</b>{} {}</p></div>').format(
        error.message, where, error.hint
    )


def drawing(blocks: Blocks) -> Mapping[str, Any]:
    """Return what draws each kind of block."""
    return {"chart": blocks.chart, "runs": blocks.runs}


def written(metrics: list[str], runs: list[str]) -> str:
    """Return the chart block that shows these metrics of these runs, as it is typed."""
    return f"```chart\nmetrics: {', '.join(metrics)}\nruns: {', '.join(runs)}\n```\n"
