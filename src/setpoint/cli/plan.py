"""``setpoint plan`` and ``setpoint apply``: from the files of a project to what is in force."""

import threading
import time

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from setpoint.cli.console import backend, home_option, json_option, say, when
from setpoint.control import applying
from setpoint.control.controller import Controller
from setpoint.control.engine import Subprocess
from setpoint.control.entities import JobState, State
from setpoint.control.graphs.entities import GraphStatus
from setpoint.control.graphs.service import ListGraphs
from setpoint.control.graphs.service import ls as list_graphs
from setpoint.control.lease import LeaseLost
from setpoint.control.plan import ModelPlan, Plan
from setpoint.control.project import load
from setpoint.control.service import ListStatus, Status, ls
from setpoint.control.spec.enforced import in_words
from setpoint.control.spec.explain import UNSET, Change
from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound
from setpoint.models.entities import ModelSummary
from setpoint.models.service import ListModels
from setpoint.models.service import ls as list_models
from setpoint.pipelines.local import StepRun

_WORDS = {"create": "new", "update": "changed", "unchanged": "as applied"}
_LOOK_SECONDS = 0.25
_SHOWN = 60  #: changed keys in the terminal; --json has all


@click.command(epilog="Example: setpoint plan            (the project in this folder)")
@home_option
@json_option
@click.argument("project", default=".", metavar="[FOLDER|FILE]")
def plan(home: str | None, as_json: bool, project: str) -> None:
    """Show what apply would change, and why; change nothing."""
    found = load(project)
    applying.check(found)
    planned = applying.plan(backend(home), found)
    say(_plan(planned), planned, as_json=as_json)


@click.command(epilog="Example: setpoint apply && setpoint up")
@home_option
@json_option
@click.argument("project", default=".", metavar="[FOLDER|FILE]")
@click.option("--no-wait", is_flag=True, help="Record the spec and leave the rest to setpoint up.")
def apply(home: str | None, as_json: bool, project: str, no_wait: bool) -> int:
    """Put the specs of a project in force, and do what follows from them.

    Trains, checks at the gate and brings live what the plan says. Applying again changes
    nothing. Where `setpoint up` runs on the same store, it does the work.
    """
    found = load(project)
    applying.check(found)
    store = backend(home)
    applied = applying.apply(store, found)
    names = {spec.model for spec in found.specs} | {spec.model for spec in found.graphs}
    if not no_wait and not applied.empty:
        _settle(store, names, quiet=as_json)
    statuses = [s for s in store.call(ls, ListStatus()).models if s.model in names]
    text = "nothing to do" if applied.empty else _plan(applied, done=True)
    graphs = [each for each in store.call(list_graphs, ListGraphs()).graphs if each.model in names]
    shown = "\n".join([text, "", *map(_status, statuses), *map(_graph, graphs)])
    say(shown, {"applied": applied, "models": statuses, "graphs": graphs}, as_json=as_json)
    return 1 if any(map(_went_wrong, statuses)) or any(map(_is_off, graphs)) else 0


@click.command(epilog="Example: setpoint status --json")
@home_option
@json_option
@click.argument("model", required=False)
def status(home: str | None, as_json: bool, model: str | None) -> None:
    """Say of each model: on target, settling, off target or held, and why."""
    store = backend(home)
    graphs = store.call(list_graphs, ListGraphs(model=model)).graphs
    everything = store.call(list_models, ListModels())
    others = [one for one in everything.unmanaged(()) if one.model == model]
    try:
        found = [] if graphs and model else store.call(ls, ListStatus(model=model)).models
    except NotFound:
        if not others:
            raise
        found = []
    else:
        known = {*(each.model for each in found), *(each.model for each in graphs)}
        others = [] if model else everything.unmanaged(known)
    told = {"models": found, "graphs": graphs, "unmanaged": others}
    say(_statuses(found, graphs, others), told, as_json=as_json)


def _settle(store: LocalBackend, models: set[str], *, quiet: bool) -> None:
    """Wait until there is nothing to do for `models`; do it here if nobody else does."""
    console = Console(stderr=True, quiet=quiet)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    engine = Subprocess()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting")

        def told(model: str, step: StepRun) -> None:
            how = "cached" if step.cached else f"{step.seconds:.1f} s"
            progress.console.print(f"  {model}: {step.step} ({how})", highlight=False)

        controller = Controller(store, told=told, engine=engine)
        once = threading.Event()
        once.set()  # take the lease if it is free, without waiting for it
        try:
            while True:
                with controller.leased(once) as mine:
                    left = _work(store, controller if mine else None, models, progress, task)
                engine.tidy()
                if not left:
                    return
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            progress.console.print("the spec is in force; apply or up goes on where this stopped")
            raise
        finally:
            engine.stop()


def _work(
    store: LocalBackend,
    controller: Controller | None,
    models: set[str],
    progress: Progress,
    task: TaskID,
) -> bool:
    """Tick (or watch `setpoint up` do so) until all is settled; False when it is.

    Returns True when somebody else's controller went away, or may have.
    """
    while True:
        if controller is not None:
            try:
                controller.tick()
            except LeaseLost:
                return True
        todo = applying.unsettled(store, models)
        if not todo:
            return False
        who = "" if controller else "setpoint up is at it: "
        progress.update(task, description=who + todo)
        if controller is None:
            return True
        time.sleep(_LOOK_SECONDS)


def _went_wrong(status: Status) -> bool:
    return status.job is not None and status.job.state in (
        JobState.FAILED,
        JobState.REFUSED,
    )


def _plan(planned: Plan, *, done: bool = False) -> str:
    blocks = [_model(model, done=done) for model in planned.models]
    if planned.empty:
        blocks.append("nothing to do: what is in force is what the files say")
    elif not done:
        blocks.append("do it with: setpoint apply")
    return "\n\n".join(blocks)


def _model(model: ModelPlan, *, done: bool) -> str:
    lines = [f"{model.model}: {_WORDS[model.kind]} ({model.file})"]
    if model.kind == "create":
        lines.append(f"  every setting and its default: setpoint explain {model.model}")
    else:
        lines += [_change(change) for change in model.changes[:_SHOWN]]
    if not done:  # what came of them is told by the status
        lines += [f"  then {i}. {action}" for i, action in enumerate(model.actions, 1)]
    lines += [f"  by hand: {drift}" for drift in model.drift]
    lines += [f"  {in_words(key)}" for key in model.unenforced]
    lines += [f"  log: {said}" for said in model.consequences]
    return "\n".join(lines)


def _change(change: Change) -> str:
    if change.path == "code":
        return "  ~ the code of the project changed"
    if change.path == "contract":
        return "  ~ what the data contract checks changed"
    if change.before == UNSET:
        return f"  + {change.path}: {change.after}"
    if change.after == UNSET:
        return f"  - {change.path}: {change.before}"
    return f"  ~ {change.path}: {change.before} → {change.after}"


_COLOURS = {
    State.ON_TARGET: "green",
    State.SETTLING: "blue",
    State.OFF_TARGET: "red",
    State.HELD: "magenta",
}


def _statuses(found: list[Status], graphs: list[GraphStatus], others: list[ModelSummary]) -> str:
    if not found and not graphs and not others:
        return "no models yet: setpoint init NAME, then setpoint apply"
    return "\n".join([*map(_status, found), *map(_graph, graphs), *map(_unmanaged, others)])


def _unmanaged(model: ModelSummary) -> str:
    live = model.aliases.get("live")
    serves = f"version {live} live" if live else "nothing live"
    word = click.style("unmanaged", bold=True)
    return f"{model.model}: {word}, {serves} (no spec says what it must hold)"


def _is_off(graph: GraphStatus) -> bool:
    return graph.state is State.OFF_TARGET


def _graph(graph: GraphStatus) -> str:
    """Return a graph with what its nodes are, the one that answers first."""
    word = click.style(graph.state.value, fg=_COLOURS[graph.state], bold=True)
    live = f"version {graph.live} live" if graph.live else "nothing live"
    width = max(len(node.node) for node in graph.nodes)
    return "\n".join(
        [
            f"{graph.model}: {word}, {live} (a graph of {len(graph.nodes)} nodes)",
            f"  {graph.why}",
            *(
                f"  {node.node:<{width}}  {node.kind:<9}  {node.of}"
                f"{f'  ({node.version})' if node.version else ''}"
                for node in reversed(graph.nodes)
            ),
        ]
    )


def _status(status: Status) -> str:
    word = click.style(status.state.value, fg=_COLOURS[status.state], bold=True)
    live = f"version {status.live} live" if status.live else "nothing live"
    lines = [f"{status.model}: {word}, {live} ({status.objective})", f"  {status.why}"]
    if (seen := status.errors) is not None:
        lines.append(
            f"  errors: {seen.rate:.2%} of {seen.requests:,} requests until {when(seen.end)} UTC "
            f"(at most {100 * seen.at_most:.4g}%)"
        )
    if (
        _went_wrong(status)
        and status.job is not None
        and (status.job.outcome or "") not in status.why
    ):
        lines.append(f"  last training: {status.job.outcome}")
    lines += [f"  alarm {alarm.id}: {alarm.text}" for alarm in status.alarms]
    return "\n".join(lines)
