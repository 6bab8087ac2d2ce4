"""What happened in each training, and which one is best."""

from collections.abc import Collection
from typing import Any

import msgspec

from setpoint.artifacts.store import open_store
from setpoint.charts.figure import Figure, Line, Panel
from setpoint.charts.ticks import seconds
from setpoint.errors import NotFound
from setpoint.models.entities import ModelVersion
from setpoint.runs import store
from setpoint.runs.entities import Environment, Run
from setpoint.runs.service import Curve, ListRuns, ShowRun, ls, points, show
from setpoint.server.ui import history, queries, words
from setpoint.server.ui.page import Ask, Drawn, Page, Table

_SHOWN = 200
_COLUMNS = 4
#: Curves with fewer points are single numbers, and stand in the table.
_LEAST = 2


def runs(ask: Ask) -> Page:
    """Answer "which one is best, and why?"."""
    experiment = ask.query.get("experiment") or None
    found: list[Run] = ask.call(ls, ListRuns(experiment=experiment, limit=_SHOWN)).runs
    metrics = _common([run.metrics for run in found], ask.read(history.metrics))[:_COLUMNS]
    count = ask.read(store.count, experiment)
    heading = f"{count:,} run{'' if count == 1 else 's'}"
    return Page(
        template="runs.html",
        title="Runs",
        active="Runs",
        values={
            "heading": heading if count else "Runs",
            "runs": found,
            "metrics": metrics,
            "experiment": experiment,
            "experiments": ask.read(queries.experiments),
            "label": label,
            "made": ask.read(queries.versions_of_runs, [run.id for run in found]),
        },
        figures=_best(found, metrics),
        tables={"runs": _table(found)},
    )


def run(ask: Ask) -> Page:
    """Answer "what happened in this training?"."""
    found: Run = ask.call(show, ShowRun(run=ask.params["run"]))
    made = ask.read(queries.versions_of_run, found.id)
    before = ask.read(store.before, found)
    sibling = None if before is None else ask.call(show, ShowRun(run=before))
    figures = _curves(ask, found)
    rows = [_metric(name, found, sibling) for name in sorted(found.metrics)]
    return Page(
        template="run.html",
        title=f"Run {words.short(found.id)}",
        active="Runs",
        values={
            "heading": _heading(found, made),
            "label": label(found),
            "run": found,
            "made": made,
            "metrics": rows,
            "sibling": sibling,
            "environment": _environment(ask, found),
            "curves": list(figures),
        },
        figures=dict(figures),
        tables={
            "metrics": Table(
                columns=["metric", "value", "run_before", "change"],
                rows=[[r["name"], r["value"], r["before"], r["change"]] for r in rows],
            ),
            "params": Table(
                columns=["name", "value"], rows=[[k, v] for k, v in found.params.items()]
            ),
        },
    )


def _heading(run: Run, made: list[ModelVersion]) -> str:
    if made:
        return f"The training of {made[0].model} version {made[0].number}"
    return f"A run of {run.experiment}"


def label(run: Run) -> str:
    """Return what a run is for, as its tags tell."""
    for name in ("role", "purpose", "kind", "what"):
        if name in run.tags:
            return run.tags[name].capitalize()
    why = run.params.get("why")
    return str(why).capitalize() if why else "Run"


def _common(found: list[dict[str, float]], first: Collection[str] = ()) -> list[str]:
    """Return names, those of objectives first, then by how many runs have them."""
    counts: dict[str, int] = {}
    for metrics in found:
        for name in metrics:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (name not in first, -counts[name], name))


def _best(found: list[Run], metrics: list[str]) -> dict[str, Drawn]:
    """Return the first metric over time, where there is more than one run with it."""
    if not metrics:
        return {}
    name = metrics[0]
    known = sorted((r for r in found if name in r.metrics), key=lambda r: r.started_at)
    if len(known) < _LEAST:
        return {}
    groups: dict[str, list[Run]] = {}
    for each in known:
        groups.setdefault(each.experiment, []).append(each)
    lines = [
        Line(
            label=group,
            xs=[seconds(r.started_at) for r in members],
            ys=[r.metrics[name] for r in members],
            color=f"c{index}" if len(groups) > 1 else "accent",
            dots=True,
        )
        for index, (group, members) in enumerate(sorted(groups.items())[:6])
    ]
    panel = Panel(title=f"{name}, by run", lines=lines, height=132)
    return {"best": Figure(title=f"{name} by run", summary=f"{len(known)} runs", panels=[panel])}


def _curves(ask: Ask, run: Run) -> dict[str, Figure]:
    figures = {}
    for name in sorted(run.metrics)[:12]:
        found = ask.call(points, Curve(run=run.id, metric=name, at_most=400)).points
        if len(found) < _LEAST:
            continue
        line = Line(label="", xs=[float(p.step) for p in found], ys=[p.value for p in found])
        figures[f"curve-{name}"] = Figure(
            title=name,
            summary=f"{len(found)} steps, last {words.number(found[-1].value)}",
            x="number",
            x_title="step",
            panels=[Panel(title=name, lines=[line], height=140)],
        )
    return figures


def _metric(name: str, run: Run, sibling: Run | None) -> dict[str, Any]:
    value = run.metrics[name]
    before = None if sibling is None else sibling.metrics.get(name)
    change = ""
    if before is not None:
        sign = "+" if value >= before else ""
        change = f"{sign}{words.number(value - before)}"
    return {"name": name, "value": value, "before": before, "change": change}


def _environment(ask: Ask, run: Run) -> Environment | None:
    if run.environment is None:
        return None
    try:
        return msgspec.json.decode(
            open_store(ask.backend.settings).get(run.environment), type=Environment
        )
    except NotFound:
        return None


def _table(found: list[Run]) -> Table:
    names = _common([run.metrics for run in found])
    return Table(
        columns=["id", "experiment", "status", "started_at", "ended_at", *names],
        rows=[
            [r.id, r.experiment, r.status.value, r.started_at, r.ended_at]
            + [r.metrics.get(name) for name in names]
            for r in found
        ],
    )
