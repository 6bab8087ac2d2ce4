"""Experiments: what was tried to answer one question, and how it has gone."""

from typing import Any

from msgspec import Struct

from setpoint.charts.figure import Figure, Line, Panel
from setpoint.charts.ticks import seconds
from setpoint.errors import Invalid
from setpoint.runs.commands import (
    FindExperiment,
    OneExperiment,
    SearchExperiments,
    SearchRuns,
    UpdateExperiment,
)
from setpoint.runs.entities import Experiment, Run, View
from setpoint.runs.service import (
    delete_experiment,
    find_experiment,
    restore_experiment,
    search,
    search_experiments,
    update_experiment,
)
from setpoint.server.ui import history, markdown, tallies, words
from setpoint.server.ui.page import Ask, Page, Redirect, Table
from setpoint.server.ui.pages import talk
from setpoint.server.ui.pages.runs import common, shown

_LISTED = 500
_RUNS = 500  #: the newest, which the charts show
_NEWEST = 10
_PANELS = 3
_LEAST = 2  #: runs that make a line
NOTE = "mlflow.note.content"  #: the tag that other clients keep an experiment's notes in


class Extreme(Struct, frozen=True, kw_only=True):
    """The runs with a metric's greatest and least value."""

    metric: str
    most: Run
    least: Run


def experiments(ask: Ask) -> Page:
    """Answer "what is being tried?"."""
    view = View.DELETED if ask.query.get("view") == "deleted" else View.ACTIVE
    found = ask.call(search_experiments, SearchExperiments(limit=_LISTED, view=view)).experiments
    counts = ask.read(tallies.of_experiments)
    rows = sorted(
        ((each, *counts.get(each.id, (0, None))) for each in found if each.id or each.id in counts),
        key=lambda row: row[2] or row[0].created_at,
        reverse=True,
    )
    return Page(
        template="experiments.html",
        title="Experiments",
        active="Runs",
        values={"rows": rows, "deleted": view is View.DELETED, "note": NOTE},
        tables={
            "experiments": Table(
                columns=["id", "name", "runs", "newest", "created_at"],
                rows=[[e.id, e.name, runs, newest, e.created_at] for e, runs, newest in rows],
            )
        },
    )


def experiment(ask: Ask) -> Page:
    """Answer "how has it gone, and which run is best?"."""
    found: Experiment = ask.call(find_experiment, FindExperiment(id=ask.params["experiment"]))
    cmd = SearchRuns(experiment_ids=[found.id], limit=_RUNS, latest=True)
    runs: list[Run] = ask.call(search, cmd).runs
    long = common([{n: v.value for n, v in run.latest.items() if v.count > 1} for run in runs])
    curve = next((name for name in long if not name.startswith("system/")), "")
    first = ask.read(history.metrics) or {curve}
    every = common([run.metrics for run in runs], first)
    names = [name for name in every if not name.startswith("system/")]
    text = found.tags.get(NOTE, "")
    return Page(
        template="experiment.html",
        title=found.name,
        active="Runs",
        values={
            "experiment": found,
            "states": ask.read(tallies.groups, cmd, "status", []),
            "newest": runs[:_NEWEST],
            "extremes": [_extreme(runs, name) for name in names[:6]],
            "names": names[:4],
            "spec": {"metric": curve, "height": 240, "runs": shown(runs[:8])} if curve else None,
            "note": {"text": text, "html": markdown.render(text) if text else ""},
            "editing": "note" in ask.query,
            "tags": {name: value for name, value in found.tags.items() if name != NOTE},
            "of_run": words.of_run,
            "talk": talk.of(ask, found.ref),
        },
        figures=_over_time(runs, names[:_PANELS]),
    )


def named(ask: Ask) -> Redirect:
    """Go to the page of the experiment of a name, by which the record knows it."""
    found: Experiment = ask.call(find_experiment, FindExperiment(name=ask.params["name"]))
    return Redirect(to=f"/experiments/{found.id}")


def change(ask: Ask) -> Redirect:
    """Write an experiment's notes, rename, delete or restore it."""
    number, what = ask.params["experiment"], ask.form.get("do", "")
    if what == "note":
        text = ask.form.get("text", "").replace("\r\n", "\n").strip()
        gone = [] if text else [NOTE]
        cmd = UpdateExperiment(id=number, tags={NOTE: text} if text else {}, untag=gone)
        ask.call(update_experiment, cmd)
    elif what == "rename":
        name = ask.form.get("name", "").strip()
        if not name:
            raise Invalid("an experiment needs a name", hint="a few words that tell what is tried")
        ask.call(update_experiment, UpdateExperiment(id=number, name=name))
    elif what in {"delete", "restore"}:
        op = delete_experiment if what == "delete" else restore_experiment
        ask.call(op, OneExperiment(id=number))
    else:
        raise Invalid(f"an experiment cannot be changed by {what!r}", hint="note, rename, delete")
    return Redirect(to=f"/experiments/{number}")


def _extreme(runs: list[Run], metric: str) -> Extreme:
    having = [run for run in runs if metric in run.metrics]
    ordered = sorted(having, key=lambda run: run.metrics[metric])
    return Extreme(metric=metric, most=ordered[-1], least=ordered[0])


def _over_time(runs: list[Run], names: list[str]) -> dict[str, Any]:
    """Return what runs came to by when they began, one panel a metric."""
    panels = []
    for name in names:
        known = sorted((run for run in runs if name in run.metrics), key=lambda r: r.started_at)
        if len(known) < _LEAST:
            continue
        line = Line(
            label="",
            name=name,
            xs=[seconds(run.started_at) for run in known],
            ys=[run.metrics[name] for run in known],
            dots=len(known) <= 60,
        )
        panels.append(Panel(title=f"{name}, by run", lines=[line], height=100))
    if not panels:
        return {}
    summary = f"{len(runs)} runs"
    return {"over-time": Figure(title="Metrics by run", summary=summary, panels=panels)}
