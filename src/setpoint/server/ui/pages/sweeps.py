"""Sweeps of the wandb client: what is searched, what was best so far, and what it depends on."""

import math
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from setpoint.charts.figure import Figure, Line, Panel
from setpoint.charts.ticks import seconds
from setpoint.errors import Invalid
from setpoint.runs.commands import SearchRuns
from setpoint.runs.entities import Run, Value
from setpoint.runs.service import search
from setpoint.server.ui.page import Ask, Page, Redirect, Table
from setpoint.server.ui.pages import compare
from setpoint.server.wandb.scope import Scope
from setpoint.server.wandb.sweeps import store
from setpoint.server.wandb.sweeps.changes import become
from setpoint.server.wandb.sweeps.importance import Importance, importance
from setpoint.server.wandb.sweeps.nodes import AgentNode, read
from setpoint.server.wandb.sweeps.nodes import expected as expected_runs
from setpoint.server.wandb.sweeps.tuning import Goal, goal

_RUNS = 1_000  #: the newest, which the page looks at
_LISTED = 100
_PLOTTED = 200
_AXES = 8
#: What a person may make of a sweep: the state, by what the button says.
_STATES = {
    "pause": store.PAUSED,
    "resume": store.RUNNING,
    "stop": store.FINISHED,
    "cancel": store.CANCELED,
}
_MAY = {
    store.PENDING: ("pause", "stop", "cancel"),
    store.RUNNING: ("pause", "stop", "cancel"),
    store.PAUSED: ("resume", "stop", "cancel"),
    store.FINISHED: ("resume",),
    store.CANCELED: (),
}


class Seen(Struct, frozen=True, kw_only=True):
    """A sweep with what its config says."""

    sweep: store.Sweep
    settings: dict[str, Any]
    goal: Goal | None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.sweep.display_name or self.sweep.id

    @property
    def method(self) -> str:
        """How it chooses: ``grid``, ``random``, ``bayes``."""
        return str(self.settings.get("method", "custom"))

    @property
    def wanted(self) -> str:
        """What it is after, in words."""
        if self.goal is None:
            return "no metric to compare its runs by"
        return f"{'most' if self.goal.maximize else 'least'} {self.goal.metric}"


def sweeps(ask: Ask) -> Page:
    """Answer "what is being searched?"."""
    found = [_seen(each) for each in ask.read(store.every)]
    counts = ask.read(store.run_counts)
    going = sum(each.sweep.state == store.RUNNING for each in found)
    heading = f"{going} of {len(found)} sweeps going on" if found else "Sweeps"
    return Page(
        template="sweeps.html",
        title="Sweeps",
        active="Runs",
        values={"heading": heading, "sweeps": found, "counts": counts},
        tables={
            "sweeps": Table(
                columns=["id", "name", "experiment", "method", "state", "runs", "created_at"],
                rows=[
                    [
                        s.sweep.id,
                        s.sweep.display_name,
                        s.sweep.experiment,
                        s.method,
                        s.sweep.state,
                        counts.get(s.sweep.id, 0),
                        s.sweep.created_at,
                    ]
                    for s in found
                ],
            )
        },
    )


def sweep(ask: Ask) -> Page:
    """Answer "what was best so far, and what does it depend on?"."""
    found = _seen(ask.read(store.get, ask.params["sweep"]))
    cmd = SearchRuns(filter=f"tags.sweep = '{found.sweep.id}'", limit=_RUNS, latest=True)
    runs: list[Run] = ask.call(search, cmd).runs
    ranked = _ranked(found.goal, runs)
    names = _searched(found, runs)
    metric = [f"metrics.{found.goal.metric}"] if found.goal else []
    newest = runs[:_PLOTTED]
    columns = compare.columns(newest, metric)
    drawn = [*(f"params.{name}" for name in names), *metric]
    axes = [each.name for name in drawn for each in columns if each.name == name]
    return Page(
        template="sweep.html",
        title=f"Sweep {found.name}",
        active="Runs",
        values={
            "found": found,
            "heading": _heading(found, ranked),
            "runs": runs,
            "listed": (ranked or runs)[:_LISTED],
            "best": ranked[0] if ranked else None,
            "expected": expected_runs(found.settings),
            "names": names[:_AXES],
            "importances": _importances(found.goal, ranked, names),
            "agents": _agents(ask, found.sweep),
            "may": _MAY.get(found.sweep.state, ()),
            "axes": axes[-_AXES:],
            "plotted": compare.plotted(newest, columns),
        },
        figures=_best_so_far(found, ranked),
        tables={
            "runs": Table(
                columns=["id", "name", "status", "started_at", *names, *metric],
                rows=[
                    [run.id, run.name, run.status.value, run.started_at]
                    + [run.params.get(name) for name in names]
                    + ([run.metrics.get(found.goal.metric)] if found.goal else [])
                    for run in runs
                ],
            )
        },
    )


def change(ask: Ask) -> Redirect:
    """Pause, resume, stop or cancel a sweep."""
    name, what = ask.params["sweep"], ask.form.get("do", "")
    with ask.backend.engine.begin() as conn:
        known = store.get(conn, name, lock=True)
        if what not in _MAY.get(known.state, ()):
            can = ", ".join(_MAY.get(known.state, ())) or "nothing: it is over"
            raise Invalid(
                f"a sweep that is {known.state.lower()} cannot {what or 'do nothing'}",
                hint=f"it can {can}",
            )
        become(ask.backend.context(conn), known, _STATES[what])
    return Redirect(to=f"/sweeps/{quote(name)}")


def _seen(sweep: store.Sweep) -> Seen:
    try:
        settings = read(sweep.config)
        wanted = goal(settings)
    except Invalid:  # it is kept, but asks for no run
        settings, wanted = {}, None
    return Seen(sweep=sweep, settings=settings, goal=wanted)


def _ranked(wanted: Goal | None, runs: list[Run]) -> list[Run]:
    """Return the runs that came to something, the best first."""
    if wanted is None:
        return []
    known = [run for run in runs if math.isfinite(wanted.loss(run.metrics.get(wanted.metric)))]
    return sorted(known, key=lambda run: wanted.loss(run.metrics[wanted.metric]))


def _heading(found: Seen, ranked: list[Run]) -> str:
    if found.goal is None or not ranked:
        return f"Sweep {found.name}"
    best = ranked[0].metrics[found.goal.metric]
    return f"{found.name}: {found.goal.metric} {best:.4g} at best"


def _searched(found: Seen, runs: list[Run]) -> list[str]:
    """Return the parameters that the sweep varies, as its runs have them."""
    told = found.settings.get("parameters")
    declared = list(told) if isinstance(told, dict) else []
    values: dict[str, set[Value]] = {}
    for run in runs:
        for name, value in run.params.items():
            values.setdefault(name, set()).add(value)
    varied = [name for name, different in values.items() if len(different) > 1]
    mine = [name for name in varied if name.partition(".")[0] in declared]
    return sorted(mine or varied)


def _importances(wanted: Goal | None, ranked: list[Run], names: list[str]) -> list[Importance]:
    if wanted is None:
        return []
    params = {name: [run.params.get(name) for run in ranked] for name in names}
    return importance(params, [run.metrics[wanted.metric] for run in ranked])


def _agents(ask: Ask, sweep: store.Sweep) -> list[AgentNode]:
    with ask.backend.reading() as conn:
        scope = Scope(ask.backend.context(conn))
        return [AgentNode(scope, each) for each in store.agents(conn, sweep.id)]


def _best_so_far(found: Seen, ranked: list[Run]) -> dict[str, Any]:
    """Return each run's value by when it began, and the best up to then."""
    if found.goal is None or len(ranked) < 2:
        return {}
    metric = found.goal.metric
    ordered = sorted(ranked, key=lambda run: run.started_at)
    values = [run.metrics[metric] for run in ordered]
    best, kept = values[0], []
    for value in values:
        best = max(best, value) if found.goal.maximize else min(best, value)
        kept.append(best)
    xs = [seconds(run.started_at) for run in ordered]
    lines = [
        Line(label="", name="run", xs=xs, ys=values, color="muted", faint=True, dots=True),
        Line(label="best", name="best so far", xs=xs, ys=kept),
    ]
    panel = Panel(title=f"{metric}, by run", lines=lines, height=160)
    summary = f"{len(ordered)} runs, at best {best:.4g}"
    return {"best": Figure(title="Best so far", summary=summary, panels=[panel])}
