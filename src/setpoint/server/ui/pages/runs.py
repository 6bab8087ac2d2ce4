"""The runs table: which one is best, and why?"""

import contextlib
import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.errors import Invalid, NotFound, SetpointError
from setpoint.reports.service import ListViews, views
from setpoint.runs.commands import MetricNames, OneRun, SearchRuns
from setpoint.runs.entities import Run, Value
from setpoint.runs.service import Log, delete, log, names, restore, search, show
from setpoint.runs.service import ShowRun as Which
from setpoint.runs.store import finding
from setpoint.server.ui import history, queries, tallies, words
from setpoint.server.ui.page import Ask, Download, Page, Redirect, cell
from setpoint.server.ui.pages.runs_view import RunsView, equals, read

PORTION = 100  #: rows that come at once
_DRAWN = 8  #: curves beside the table where none is chosen
_SAVED = 1_000  #: rows read at a time while a file is made
_METRICS, _PARAMS = 4, 3  #: columns where none are chosen


#: What the page shows where nothing else is said.
_USUAL: dict[str, Any] = {
    "error": None,
    "error_at": None,
    "groups": [],
    "group_url": None,
    "metrics": [],
    "numeric": [],
    "rows": [],
    "pinned": [],
    "metric": "",
    "spec": None,
    "next": "",
}


class Row(Struct, frozen=True, kw_only=True):
    """A run as the table shows it."""

    run: Run
    cells: list[Value]  #: in the order of the columns
    made: tuple[str, int] | None  #: the model version it made
    color: str  #: of its curve; empty where none is drawn
    pinned: bool = False


def runs(ask: Ask) -> Page | Redirect | Download:
    """Answer "which one is best, and why?"."""
    view = read(ask.pairs)
    if "unpin" in ask.query or any(value == "" for _, value in ask.pairs):
        return Redirect(to=view.url())
    wanted = ask.query.get("format", "")
    if wanted in {"csv", "json"}:
        return _file(ask, view, wanted)
    try:
        return _grouped(ask, view) if view.group else _listed(ask, view)
    except Invalid as error:
        return _refused(ask, view, error)


def rows(ask: Ask) -> Page:
    """Return the rows of the table from number ``at`` on, for a script that scrolls."""
    view = read(ask.pairs)
    at = ask.query.get("at", "0")
    cmd = view.search(PORTION)
    found: list[Run] = []
    token = ask.read(finding.token_after, cmd, int(at)) if at.isdecimal() and int(at) else ""
    if token or at == "0":
        found = ask.call(search, view.search(PORTION, token)).runs
    return Page(
        template="_rows.html",
        title="",
        active="",
        values={"rows": _rows(ask, found, view, view.columns), "columns": view.columns},
    )


def change(ask: Ask) -> Redirect:
    """Tag, delete or restore the runs that were chosen, or all that a view shows."""
    view = read([pair for pair in ask.pairs if pair[0] != "run"])
    chosen = [value for name, value in ask.pairs if name == "run"]
    what = ask.form.get("do", "")
    if what not in {"tag", "delete", "restore"}:
        raise Invalid(f"runs cannot be changed by {what!r}", hint="tag, delete or restore")
    with ask.backend.engine.begin() as conn:
        ctx = ask.backend.context(conn)
        if ask.form.get("all"):
            chosen = finding.ids(conn, view.search(1))
        if not chosen:
            raise Invalid("no run was chosen", hint="tick the runs to change, then the button")
        tags = _tag(ask.form.get("tag", "")) if what == "tag" else {}
        for run in chosen:
            if what == "tag":
                log(ctx, Log(run=run, tags=tags))
            else:
                (delete if what == "delete" else restore)(ctx, OneRun(run=run))
    keep = [] if ask.form.get("all") or what != "tag" else chosen[:50]
    return Redirect(to=view.url(chosen=keep))


def _tag(text: str) -> dict[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise Invalid(f"{text!r} is not a tag", hint="write name=value, e.g. team=vision")
    return {name.strip(): value.strip()}


def _listed(ask: Ask, view: RunsView) -> Page:
    page = ask.call(search, view.search(PORTION, ask.query.get("token", "")))
    found: list[Run] = page.runs
    columns = view.columns or _columns(ask, found)
    pinned = _pinned(ask, view)
    drawn = [run.id for run in _drawn(found, pinned, view)]
    metric = view.metric or _curve(found)
    values = {
        "rows": _rows(ask, found, view, columns, drawn),
        "pinned": _rows(ask, pinned, view, columns, drawn),
        "columns": columns,
        "numeric": [each for each in columns if _is_numeric(found, each)],
        "metric": metric,
        "spec": _spec(found, pinned, drawn, metric) if metric else None,
        "count": ask.read(tallies.count, view.search(1)),
        "next": page.next,
    }
    return _page(ask, view, values)


def _pinned(ask: Ask, view: RunsView) -> list[Run]:
    """Return the pinned runs; one that is gone for good does not spoil the view."""
    found = []
    for each in view.pins:
        with contextlib.suppress(NotFound):
            found.append(ask.call(show, Which(run=each)))
    return found


def _grouped(ask: Ask, view: RunsView) -> Page:
    cmd = view.search(PORTION)
    columns = view.columns or _columns(ask, ask.call(search, cmd).runs)
    metrics = [each.partition(".")[2] for each in columns if each.startswith("metrics.")]
    groups = ask.read(tallies.groups, cmd, view.group, metrics)
    joined = f"({view.filter}) AND " if view.filter else ""
    values = {
        "groups": groups,
        "group_url": lambda group: view.url(
            group="", filter=joined + equals(view.group, group.value)
        ),
        "metrics": metrics,
        "columns": columns,
        "count": sum(group.runs for group in groups),
    }
    return _page(ask, view, values)


def _refused(ask: Ask, view: RunsView, error: SetpointError) -> Page:
    """Return the page with what is wrong with its filter, everything else as it was."""
    values = {
        "columns": view.columns,
        "count": 0,
        "error": error,
        "error_at": _position(error.where),
    }
    return _page(ask, view, values, status=400)


def _position(where: str) -> int | None:
    """Return the place in the filter, from 0, that an error tells of."""
    number = where.removeprefix("at character ").partition(":")[0]
    return int(number) - 1 if number.isdecimal() else None


def _page(ask: Ask, view: RunsView, values: dict[str, Any], status: int = 200) -> Page:
    count = values["count"]
    known = [view.experiment] if view.experiment else []
    return Page(
        template="runs.html",
        title="Runs",
        active="Runs",
        status=status,
        values={
            **_USUAL,
            "heading": f"{count:,} run{'' if count == 1 else 's'}" if count else "Runs",
            "view": view,
            "experiments": ask.read(queries.experiments),
            "names": ask.call(names, MetricNames(experiments=known)),
            "saved": ask.call(views, ListViews()).views,
            "rows_url": msgspec.structs.replace(view, columns=values["columns"]).query,
            "portion": PORTION,
            **values,
        },
    )


def _rows(
    ask: Ask, found: list[Run], view: RunsView, columns: list[str], drawn: Sequence[str] = ()
) -> list[Row]:
    made = ask.read(queries.versions_of_runs, [run.id for run in found])
    colors = {run: f"c{i % 8}" for i, run in enumerate(drawn)}
    return [
        Row(
            run=run,
            cells=[words.of_run(run, column) for column in columns],
            made=made.get(run.id),
            color=colors.get(run.id, ""),
            pinned=run.id in view.pins,
        )
        for run in found
    ]


def _is_numeric(found: list[Run], column: str) -> bool:
    values = [words.of_run(run, column) for run in found]
    return any(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def _columns(ask: Ask, found: list[Run]) -> list[str]:
    """Return the columns that tell runs apart: metrics that most have, params that vary."""
    first = ask.read(history.metrics) or {_curve(found)}
    metrics = common([run.metrics for run in found], first)
    shown = [name for name in metrics if not name.startswith("system/")][:_METRICS]
    params: dict[str, set[Value]] = {}
    for run in found:
        for name, value in run.params.items():
            params.setdefault(name, set()).add(value)
    varied = [name for name, values in params.items() if len(values) > 1][:_PARAMS]
    return [*(f"metrics.{name}" for name in shown), *(f"params.{name}" for name in varied)]


def common(found: list[dict[str, float]], first: Sequence[str] | set[str] = ()) -> list[str]:
    """Return names, those of objectives first, then by how many runs have them."""
    counts: dict[str, int] = {}
    for metrics in found:
        for name in metrics:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (name not in first, -counts[name], name))


def _curve(found: list[Run]) -> str:
    """Return the metric whose curves are drawn: one that most runs have more than a value of."""
    long = [
        {name: last.value for name, last in run.latest.items() if last.count > 1} for run in found
    ]
    return next((name for name in common(long) if not name.startswith("system/")), "")


def _drawn(found: list[Run], pinned: list[Run], view: RunsView) -> list[Run]:
    known = {run.id: run for run in (*pinned, *found)}
    chosen = [known[each] for each in view.chosen if each in known]
    return chosen or [run for run in known.values() if run.latest or run.metrics][:_DRAWN]


def _spec(
    found: list[Run], pinned: list[Run], drawn: Sequence[str], metric: str
) -> dict[str, object]:
    known = {run.id: run for run in (*pinned, *found)}
    return {"metric": metric, "height": 220, "runs": shown([known[each] for each in drawn])}


def shown(found: Sequence[Run]) -> list[dict[str, object]]:
    """Return runs as charts name them: each with a colour of its own."""
    return [
        {
            "id": run.id,
            "name": words.run_title(run),
            "color": f"c{i % 8}",
            "started": run.started_at.timestamp(),
        }
        for i, run in enumerate(found)
    ]


def _file(ask: Ask, view: RunsView, wanted: str) -> Download:
    """Return all runs of a view as a file, made while it is sent."""
    known = ask.call(names, MetricNames(experiments=[view.experiment] if view.experiment else []))
    columns = view.columns or [
        *(f"metrics.{name}" for name in known.metrics),
        *(f"params.{name}" for name in known.params),
        *(f"tags.{name}" for name in known.tags),
    ]
    heading = ["id", "name", "experiment", "status", "started_at", "ended_at", *columns]
    parts = (_csv if wanted == "csv" else _json)(heading, _records(ask, view, columns))
    media = "text/csv; charset=utf-8" if wanted == "csv" else "application/json"
    return Download(media=media, parts=parts, name=f"runs.{wanted}")


def _records(ask: Ask, view: RunsView, columns: list[str]) -> Iterator[list[list[Any]]]:
    token = ""
    while True:
        cmd: SearchRuns = msgspec.structs.replace(view.search(_SAVED, token), latest=False)
        page = ask.call(search, cmd)
        yield [
            [run.id, run.name, run.experiment, run.status.value, run.started_at, run.ended_at]
            + [words.of_run(run, column) for column in columns]
            for run in page.runs
        ]
        token = page.next
        if not token:
            return


def _csv(heading: list[str], portions: Iterator[list[list[Any]]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heading)
    for portion in portions:
        writer.writerows([cell(value) for value in row] for row in portion)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _json(heading: list[str], portions: Iterator[list[list[Any]]]) -> Iterator[bytes]:
    before = b"["
    for portion in portions:
        for row in portion:
            yield before + msgspec.json.encode(dict(zip(heading, row, strict=True)), enc_hook=str)
            before = b",\n"
    yield b"[]" if before == b"[" else b"]"
