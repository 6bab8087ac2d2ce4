"""Runs that are old go by rule: deleted first, and what they hold freed a month later."""

from datetime import timedelta

from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid
from setpoint.events.store import record
from setpoint.runs import rules
from setpoint.runs.commands import Expire, Expired, KeepRuns, ListRules, RunRules
from setpoint.runs.entities import Lifecycle, RunRule
from setpoint.runs.store import experiments, runs
from setpoint.runs.store import expiring as store

#: How long a run that went by rule can be restored.
GRACE = timedelta(days=30)


@operation("runs.keep", needs="runs:delete")
def keep(ctx: Context, cmd: KeepRuns) -> RunRules:
    """Say how long runs are kept: those of an experiment, or of all that have no rule of their own.

    Runs behind registered versions, runs that go on and runs with one of the tags stay for ever.
    """
    if not cmd.reason.strip():
        raise Invalid("say why", hint="give it with --reason; it stays on record")
    if cmd.days is not None and cmd.days < 1:
        raise Invalid("runs are kept for 1 day or more", hint="or for ever")
    found = None if cmd.experiment is None else experiments.get(ctx.conn, name=cmd.experiment)
    number = store.EVERY if found is None else found.id
    if cmd.drop:
        store.drop(ctx.conn, number)
    else:
        rule = RunRule(
            experiment=cmd.experiment,
            days=cmd.days,
            tags=sorted({tag.strip() for tag in cmd.tags if tag.strip()}),
            actor=ctx.actor,
            at=ctx.now,
            reason=cmd.reason.strip(),
        )
        store.put(ctx.conn, number, rule)
    subject = "runs" if found is None else found.ref
    told = {"days": cmd.days, "tags": cmd.tags, "dropped": cmd.drop}
    record(ctx, "runs.keeping_changed", subject, **told, reason=cmd.reason.strip())
    return RunRules(rules=list(store.rules(ctx.conn).values()))


@operation("runs.rules", needs="runs:read")
def ls(ctx: Context, cmd: ListRules) -> RunRules:  # noqa: ARG001 - nothing to ask for
    """Return how long runs are kept, the rule for all first."""
    return RunRules(rules=list(store.rules(ctx.conn).values()))


@operation("runs.expire", needs="runs:delete")
def expire(ctx: Context, cmd: Expire) -> Expired:
    """Delete runs that their rule lets go; they can be restored until they are collected.

    Where there are more than one transaction takes, the answer says so.
    """
    given = store.rules(ctx.conn)
    old = [
        each
        for number, rule in given.items()
        if rule.days is not None
        for each in store.old(
            ctx.conn, number, ctx.now - timedelta(days=rule.days), rule.tags, own=set(given)
        )
    ]
    going = rules.without_parents(
        {each.id: each.parent for each in old}, store.children(ctx.conn, [each.id for each in old])
    )
    gone = [each for each in old if each.id in going]
    some = gone if cmd.dry else gone[: cmd.at_most]
    counts: dict[str, int] = {}
    for each in some:
        if cmd.dry or _delete(ctx, each):
            counts[each.experiment] = counts.get(each.experiment, 0) + 1
    if counts and not cmd.dry:
        record(ctx, "runs.expired", "runs", runs=sum(counts.values()), experiments=counts)
    return Expired(runs=sum(counts.values()), experiments=counts, more=len(gone) > len(some))


def _delete(ctx: Context, run: store.Old) -> bool:
    """Delete a run unless somebody has gone on with it since; tell whether it was."""
    gone = {"lifecycle": Lifecycle.DELETED, "deleted_at": ctx.now}
    return runs.change(ctx.conn, run.key, was=run.status, **gone)


OPERATIONS = (keep, ls, expire)
