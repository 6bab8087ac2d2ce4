"""What one can do with runs. One function per use case, one transaction each."""

import msgspec

from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid
from setpoint.events.store import record
from setpoint.runs import rules, store
from setpoint.runs.commands import (
    Compare,
    Comparison,
    Curve,
    Finish,
    ListRuns,
    Log,
    Logged,
    Points,
    Runs,
    ShowRun,
    Start,
)
from setpoint.runs.entities import Run, Status

__all__ = [
    "OPERATIONS",
    "Compare",
    "Comparison",
    "Curve",
    "Finish",
    "ListRuns",
    "Log",
    "Logged",
    "Points",
    "Runs",
    "ShowRun",
    "Start",
    "compare",
    "finish",
    "log",
    "ls",
    "points",
    "show",
    "start",
]


@operation("runs.start", needs="runs:write")
def start(ctx: Context, cmd: Start) -> Run:
    """Begin a run, or go on with the one of this id."""
    if not cmd.experiment.strip():
        raise Invalid("a run needs an experiment", hint="e.g. the name of the model")
    known = store.find(ctx.conn, cmd.id) if cmd.id else None
    if known is not None:
        return _resumed(ctx, known)
    run = Run(
        id=cmd.id or new_id("run", ctx.now),
        experiment=cmd.experiment,
        status=Status.RUNNING,
        started_at=ctx.now,
        actor=ctx.actor,
        params=cmd.params,
        tags=cmd.tags,
        inputs=cmd.inputs,
        code=cmd.code,
        environment=cmd.environment,
    )
    store.add(ctx.conn, run)
    record(ctx, "run.started", run.ref, experiment=run.experiment, inputs=run.inputs)
    return run


@operation("runs.log", needs="runs:write")
def log(ctx: Context, cmd: Log) -> Logged:
    """Add points, params, tags, inputs or artifacts to a run.

    A param keeps its first value. Tags and artifacts may be added to a finished run.
    """
    run = store.get(ctx.conn, cmd.run)
    if run.status is not Status.RUNNING and (cmd.points or cmd.params or cmd.inputs):
        raise Conflict(
            f"run {run.id} has {run.status}; what it measured stays as it is",
            hint="start another run, or add tags or artifacts to this one",
        )
    for name, value in cmd.params.items():
        if name in run.params and run.params[name] != value:
            raise Conflict(
                f"param {name!r} of run {run.id} is {run.params[name]!r} already",
                hint="log what changes while a run goes on as a metric",
            )
    store.put_values(ctx.conn, run.id, "param", cmd.params)
    store.put_values(ctx.conn, run.id, "tag", cmd.tags)
    store.put_values(ctx.conn, run.id, "input", cmd.inputs)
    store.put_values(ctx.conn, run.id, "artifact", cmd.artifacts)
    store.put_points(ctx.conn, run.id, cmd.points, ctx.now)
    store.set_origin(ctx.conn, run.id, cmd.code, cmd.environment)
    return Logged(run=run.id, points=len(cmd.points))


@operation("runs.finish", needs="runs:write")
def finish(ctx: Context, cmd: Finish) -> Run:
    """End a run, as finished or (with an error) as failed; doing it twice is fine."""
    run = store.get(ctx.conn, cmd.run)
    status = Status.FAILED if cmd.error else Status.FINISHED
    if run.status is status:
        return run
    ended = msgspec.structs.replace(run, status=status, ended_at=ctx.now, error=cmd.error)
    if run.status is not Status.RUNNING or not store.set_status(
        ctx.conn, ended, was=Status.RUNNING
    ):
        raise Conflict(f"run {run.id} has {run.status} already")
    record(ctx, f"run.{status}", run.ref, experiment=run.experiment, error=cmd.error)
    return ended


@operation("runs.ls", needs="runs:read")
def ls(ctx: Context, cmd: ListRuns) -> Runs:
    """Return the newest runs, of one experiment or of all."""
    return Runs(runs=store.ls(ctx.conn, experiment=cmd.experiment, limit=cmd.limit))


@operation("runs.show", needs="runs:read")
def show(ctx: Context, cmd: ShowRun) -> Run:
    """Return one run with everything recorded about it."""
    return store.get(ctx.conn, cmd.run)


@operation("runs.points", needs="runs:read")
def points(ctx: Context, cmd: Curve) -> Points:
    """Return the curve of one metric of a run."""
    run = store.get(ctx.conn, cmd.run)
    return Points(points=store.points(ctx.conn, run.id, cmd.metric, at_most=cmd.at_most))


@operation("runs.compare", needs="runs:read")
def compare(ctx: Context, cmd: Compare) -> Comparison:
    """Return what differs between runs: params, metrics, inputs, code, environment."""
    if len(cmd.runs) < 2:
        raise Invalid("comparing takes two runs or more")
    found = [store.get(ctx.conn, each) for each in cmd.runs]
    return Comparison(runs=found, differences=rules.differences(found))


def _resumed(ctx: Context, run: Run) -> Run:
    if run.status is not Status.FAILED:
        return run
    again = msgspec.structs.replace(run, status=Status.RUNNING, ended_at=None, error="")
    if store.set_status(ctx.conn, again, was=Status.FAILED):
        record(ctx, "run.resumed", run.ref, experiment=run.experiment)
    return store.get(ctx.conn, run.id)


OPERATIONS = (start, log, finish, ls, show, points, compare)
