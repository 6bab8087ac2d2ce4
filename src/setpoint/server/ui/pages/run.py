"""What happened in one training."""

from typing import Any

import msgspec

from setpoint.artifacts.store import open_store
from setpoint.charts.figure import Figure, Line, Panel
from setpoint.errors import NotFound
from setpoint.models.entities import ModelVersion
from setpoint.runs import store
from setpoint.runs.entities import Environment, Run
from setpoint.runs.service import Curve, ShowRun, points, show
from setpoint.server.ui import queries, words
from setpoint.server.ui.page import Ask, Page, Table

#: Curves with fewer points are single numbers, and stand in the table.
_LEAST = 2


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
            "label": words.run_label(found),
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
