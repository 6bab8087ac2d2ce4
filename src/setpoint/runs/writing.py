"""Writing to runs: the operations that start, fill and end them."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from setpoint.artifacts.store import open_store
from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid, NotFound, SetpointError
from setpoint.events.store import record
from setpoint.runs import columns, rules
from setpoint.runs.commands import (
    Append,
    Finish,
    Forget,
    Log,
    Logged,
    OneRun,
    Start,
    UpdateRun,
)
from setpoint.runs.entities import Experiment, Lifecycle, Run, Series, Status
from setpoint.runs.store import cards, merging, series, sources, values
from setpoint.runs.store import experiments as experiment_store
from setpoint.runs.store import runs as store
from setpoint.runs.store.naming import numbers, plain
from setpoint.runs.store.pairs import Pair
from setpoint.runs.store.values import Kind

_RESUMED = {Status.FAILED, Status.KILLED, Status.SCHEDULED}


@operation("runs.start", needs="runs:write")
def start(ctx: Context, cmd: Start) -> Run:
    """Begin a run, or go on with the one of this id."""
    if cmd.id is not None:
        rules.check_id(cmd.id)
        known = store.find(ctx.conn, cmd.id)
        if known is not None:
            return _resumed(ctx, known)
    experiment = _experiment(ctx, cmd)
    if experiment.lifecycle is Lifecycle.DELETED:
        raise Conflict(f"experiment {experiment.name!r} is deleted", hint="restore it first")
    if cmd.parent is not None:
        store.key_of(ctx.conn, cmd.parent)
    run = Run(
        id=cmd.id or new_id("run", ctx.now),
        experiment=experiment.name,
        experiment_id=experiment.id,
        name=cmd.name,
        parent=cmd.parent,
        status=cmd.status,
        started_at=cmd.started_at or ctx.now,
        actor=ctx.actor if cmd.actor is None else cmd.actor,
        params=cmd.params,
        tags=cmd.tags,
        inputs=cmd.inputs,
        code=cmd.code,
        environment=cmd.environment,
    )
    if not store.add(ctx.conn, run):  # another rank was faster
        return _resumed(ctx, store.get(ctx.conn, run.id))
    record(ctx, "run.started", run.ref, experiment=run.experiment, inputs=run.inputs)
    return store.get(ctx.conn, run.id)


def _experiment(ctx: Context, cmd: Start) -> Experiment:
    if cmd.experiment_id is not None:
        return experiment_store.get(ctx.conn, id=cmd.experiment_id)
    if not cmd.experiment.strip():
        raise Invalid("a run needs an experiment", hint="e.g. the name of the model")
    number = experiment_store.ensure(ctx.conn, cmd.experiment, ctx.now)
    return experiment_store.get(ctx.conn, id=number)


def _resumed(ctx: Context, run: Run) -> Run:
    rules.check_open(run.id, run.status, run.lifecycle, ended=True)
    if run.status not in _RESUMED:
        return run
    key = store.key_of(ctx.conn, run.id)
    again: dict[str, Any] = {"status": Status.RUNNING, "ended_at": None, "error": ""}
    cards.drop(ctx.conn, [key])
    if store.change(ctx.conn, key, was=run.status, **again):
        record(ctx, "run.resumed", run.ref, experiment=run.experiment)
    return store.get(ctx.conn, run.id)


@operation("runs.log", needs="runs:write")
def log(ctx: Context, cmd: Log) -> Logged:
    """Add points, params, tags, data read, links or artifacts to a run.

    A param keeps its first value, unless it may be replaced. Tags and artifacts may be added to
    a run that has ended.
    """
    held = _held(ctx, cmd.run, ended=cmd.late or not (cmd.points or cmd.params or cmd.inputs))
    key = held.key
    if not cmd.replace:
        there = values.some(ctx.conn, key, Kind.PARAM, cmd.params)
        rules.check_params(cmd.run, there, cmd.params)
    values.put(ctx.conn, key, Kind.PARAM, cmd.params)
    values.put(ctx.conn, key, Kind.TAG, cmd.tags)
    values.put_datasets(ctx.conn, key, [*values.versions(cmd.inputs), *cmd.datasets])
    values.put_links(ctx.conn, key, cmd.uses, made=False)
    values.put_links(ctx.conn, key, cmd.outputs, made=True)
    values.put_artifacts(ctx.conn, key, cmd.artifacts)
    _check_there(ctx, cmd)
    store.set_origin(ctx.conn, key, cmd.code, cmd.environment)
    written = columns.from_points(cmd.points, ctx.now)
    ids = numbers(ctx.conn, (one.name for one in written))
    series.write(ctx.conn, {(key, ids[plain(one.name)]): [one] for one in written})
    _carded(ctx, held)
    return Logged(run=cmd.run, points=len(cmd.points))


def _check_there(ctx: Context, cmd: Log) -> None:
    """Refuse artifacts that nobody stored: a list of what is not there helps no one.

    They are looked for after they were named: who frees bytes then waits, and spares them.
    """
    if not cmd.artifacts:
        return
    there = open_store(ctx.settings).find({left.address for left in cmd.artifacts.values()})
    for path, left in cmd.artifacts.items():
        if left.address not in there:
            raise NotFound(
                f"artifact {path!r} is not in the object store",
                where=left.address,
                hint="store its bytes first, then log the path",
            )


def _carded(ctx: Context, held: Any) -> None:
    """Bring the card of a run that has ended up to date."""
    if Status(held.status).ended:
        cards.write(ctx.conn, held.key)


def _held(ctx: Context, run: str, *, ended: bool) -> Any:
    """Return (key, status) of a run that is locked and takes what is to be written."""
    row = store.lock(ctx.conn, [run]).get(run)
    if row is None:
        raise store.missing(run)
    rules.check_open(run, Status(row.status), Lifecycle(row.lifecycle), ended=ended)
    return row


def append_many(ctx: Context, cmds: list[Append]) -> list[Logged | Exception]:
    """Add points in columns to many runs, each command with an outcome of its own."""
    held = store.lock(ctx.conn, sorted({cmd.run for cmd in cmds}))
    numbered = [(held[cmd.run].key, cmd.source) for cmd in cmds if cmd.source and cmd.run in held]
    known = sources.positions(ctx.conn, numbered)
    reached: dict[tuple[int, str], int] = {}
    outcomes: list[Logged | Exception] = []
    taken: list[tuple[int, Series]] = []
    for cmd in cmds:
        try:
            key = _open_for(cmd, held)
            here = (key, cmd.source)
            if cmd.source and cmd.position <= max(known.get(here, -1), reached.get(here, -1)):
                outcomes.append(Logged(run=cmd.run, points=0))
                continue
            columns.check(cmd.series)
        except SetpointError as error:
            outcomes.append(error)
            continue
        if cmd.source:
            reached[here] = cmd.position
        taken += [(key, one) for one in cmd.series]
        outcomes.append(Logged(run=cmd.run, points=sum(map(len, cmd.series))))
    _write(ctx, taken)
    sources.put(ctx.conn, reached)
    touched = {key for key, _ in taken}
    for row in held.values():
        if row.key in touched:
            _carded(ctx, row)
    return outcomes


def _open_for(cmd: Append, held: dict[str, Any]) -> int:
    row = held.get(cmd.run)
    if row is None:
        raise store.missing(cmd.run)
    rules.check_open(cmd.run, Status(row.status), Lifecycle(row.lifecycle), ended=cmd.late)
    return int(row.key)


def _write(ctx: Context, taken: Sequence[tuple[int, Series]]) -> None:
    ids = numbers(ctx.conn, {one.name for _, one in taken})
    batches: dict[Pair, list[Series]] = {}
    for key, one in taken:
        batches.setdefault((key, ids[plain(one.name)]), []).append(one)
    series.write(ctx.conn, batches)


@operation("runs.append", needs="runs:write", many=append_many)
def append(ctx: Context, cmd: Append) -> Logged:
    """Add points in columns to a run. A batch sent again, or an equal point, is kept once."""
    (outcome,) = append_many(ctx, [cmd])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@operation("runs.forget", needs="runs:write")
def forget(ctx: Context, cmd: Forget) -> Run:
    """Take tags and artifacts from a run; what the paths stood for is freed by `runs.gc`."""
    held = _held(ctx, cmd.run, ended=True)
    key = held.key
    there = values.some(ctx.conn, key, Kind.TAG, cmd.tags)
    for name in cmd.tags:
        if name not in there:
            raise NotFound(f"run {cmd.run} has no tag {name!r}")
    values.forget(ctx.conn, key, Kind.TAG, cmd.tags)
    values.forget_artifacts(ctx.conn, key, cmd.artifacts)
    _carded(ctx, held)
    return store.get(ctx.conn, cmd.run)


@operation("runs.update", needs="runs:write")
def update(ctx: Context, cmd: UpdateRun) -> Run:
    """Change a run's name, status, end or error."""
    key = _held(ctx, cmd.run, ended=True).key
    was = store.get(ctx.conn, cmd.run)
    given: dict[str, Any] = {"name": cmd.name, "status": cmd.status, "error": cmd.error}
    given["started_at"] = cmd.started_at
    given = {name: value for name, value in given.items() if value is not None}
    if cmd.ended_at is not UNSET:
        given["ended_at"] = cmd.ended_at
    elif cmd.status is not None and cmd.status.ended != was.status.ended:
        given["ended_at"] = ctx.now if cmd.status.ended else None
    if given:
        store.change(ctx.conn, key, **given)
    if cmd.status is not None and cmd.status is not was.status:
        _settle(ctx, key, cmd.status)
        record(ctx, f"run.{cmd.status}", was.ref, experiment=was.experiment)
    return store.get(ctx.conn, cmd.run)


@operation("runs.finish", needs="runs:write")
def finish(ctx: Context, cmd: Finish) -> Run:
    """End a run, as finished or (with an error) as failed; doing it twice is fine."""
    key = _held(ctx, cmd.run, ended=True).key
    run = store.get(ctx.conn, cmd.run)
    status = Status.FAILED if cmd.error else Status.FINISHED
    if run.status is status:
        return run
    if run.status.ended:
        raise Conflict(f"run {run.id} has {run.status} already")
    store.change(ctx.conn, key, status=status, ended_at=ctx.now, error=cmd.error)
    _settle(ctx, key, status)
    record(ctx, f"run.{status}", run.ref, experiment=run.experiment, error=cmd.error)
    return store.get(ctx.conn, cmd.run)


def _settle(ctx: Context, key: int, status: Status) -> None:
    """Merge what is loose of a run that has ended, and write its card: few will add to it."""
    if status.ended:
        merging.merge(ctx.conn, merging.loose(ctx.conn, key))
        cards.write(ctx.conn, key)
    else:
        cards.drop(ctx.conn, [key])


@operation("runs.delete", needs="runs:write")
def delete(ctx: Context, cmd: OneRun) -> Run:
    """Take a run out of every list. It can be restored until `runs.gc` frees what it holds."""
    return _lived(ctx, cmd.run, Lifecycle.DELETED)


@operation("runs.restore", needs="runs:write")
def restore(ctx: Context, cmd: OneRun) -> Run:
    """Bring a deleted run back."""
    return _lived(ctx, cmd.run, Lifecycle.ACTIVE)


def _lived(ctx: Context, run: str, lifecycle: Lifecycle) -> Run:
    found = store.get(ctx.conn, run)
    if found.lifecycle is lifecycle:
        return found
    deleted_at = ctx.now if lifecycle is Lifecycle.DELETED else None
    key = store.key_of(ctx.conn, run)
    store.change(ctx.conn, key, lifecycle=lifecycle, deleted_at=deleted_at)
    verb = "deleted" if lifecycle is Lifecycle.DELETED else "restored"
    record(ctx, f"run.{verb}", found.ref, experiment=found.experiment)
    return store.get(ctx.conn, run)


OPERATIONS = (start, log, append, forget, update, finish, delete, restore)
