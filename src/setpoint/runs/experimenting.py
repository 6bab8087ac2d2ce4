"""What one can do with experiments."""

from setpoint.comments import store as comments
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid
from setpoint.events.store import record
from setpoint.runs.commands import (
    CreateExperiment,
    Experiments,
    FindExperiment,
    OneExperiment,
    SearchExperiments,
    UpdateExperiment,
)
from setpoint.runs.entities import Experiment, Lifecycle
from setpoint.runs.store import experiments as store
from setpoint.runs.store import search_experiments as searching

_DEFAULT = 0


@operation("experiments.create", needs="runs:write")
def create(ctx: Context, cmd: CreateExperiment) -> Experiment:
    """Make an experiment. Starting a run by a name makes it too."""
    _check(cmd.name)
    number = store.add(ctx.conn, cmd.name, ctx.now)
    store.put_tags(ctx.conn, number, cmd.tags)
    record(ctx, "experiment.created", f"experiment:{cmd.name}", id=number)
    return store.get(ctx.conn, id=number)


@operation("experiments.find", needs="runs:read")
def find(ctx: Context, cmd: FindExperiment) -> Experiment:
    """Return an experiment by its id or name, deleted ones too."""
    if (cmd.id is None) == (cmd.name is None):
        raise Invalid("an experiment is found by its id or by its name", hint="give one of them")
    return store.get(ctx.conn, id=cmd.id, name=cmd.name)


@operation("experiments.search", needs="runs:read")
def search_experiments(ctx: Context, cmd: SearchExperiments) -> Experiments:
    """Return experiments by a filter, e.g. ``name LIKE 'flights%' AND tags.team = 'ops'``."""
    return searching.experiments(ctx.conn, cmd)


@operation("experiments.update", needs="runs:write")
def update(ctx: Context, cmd: UpdateExperiment) -> Experiment:
    """Rename an experiment, or change its tags."""
    found = store.get(ctx.conn, id=cmd.id)
    if found.lifecycle is Lifecycle.DELETED:
        raise Conflict(f"experiment {found.name!r} is deleted", hint="restore it first")
    renamed: dict[str, str] = {}
    if cmd.name is not None and cmd.name != found.name:
        _check(cmd.name)
        if store.find(ctx.conn, name=cmd.name) is not None:
            raise Conflict(f"experiment {cmd.name!r} exists already", hint="choose another name")
        renamed = {"name": cmd.name}
        comments.move(ctx.conn, found.ref, f"experiment:{cmd.name}")
        record(ctx, "experiment.renamed", f"experiment:{cmd.name}", id=cmd.id, was=found.name)
    store.change(ctx.conn, cmd.id, ctx.now, **renamed)
    store.put_tags(ctx.conn, cmd.id, cmd.tags)
    store.forget_tags(ctx.conn, cmd.id, cmd.untag)
    return store.get(ctx.conn, id=cmd.id)


@operation("experiments.delete", needs="runs:write")
def delete(ctx: Context, cmd: OneExperiment) -> Experiment:
    """Take an experiment and its runs out of every list, until it is restored or collected."""
    if cmd.id == _DEFAULT:
        raise Conflict("the experiment Default cannot be deleted", hint="delete its runs")
    return _lived(ctx, cmd.id, Lifecycle.DELETED)


@operation("experiments.restore", needs="runs:write")
def restore(ctx: Context, cmd: OneExperiment) -> Experiment:
    """Bring a deleted experiment back, with the runs that were deleted with it."""
    return _lived(ctx, cmd.id, Lifecycle.ACTIVE)


def _lived(ctx: Context, number: int, lifecycle: Lifecycle) -> Experiment:
    found = store.get(ctx.conn, id=number)
    if found.lifecycle is lifecycle:
        return found
    # Its runs carry the time of its deletion, so that restoring it brings back those alone.
    deleted_at = ctx.now if lifecycle is Lifecycle.DELETED else None
    store.live(ctx.conn, found, lifecycle, deleted_at)
    store.change(ctx.conn, number, ctx.now, lifecycle=lifecycle)
    verb = "deleted" if lifecycle is Lifecycle.DELETED else "restored"
    record(ctx, f"experiment.{verb}", found.ref, id=number)
    return store.get(ctx.conn, id=number)


def _check(name: str) -> None:
    if not name.strip():
        raise Invalid("an experiment needs a name", hint="e.g. that of the model")


OPERATIONS = (create, find, search_experiments, update, delete, restore)
