"""Aliases as people see them: dropping one, and where each has been."""

import math
from collections.abc import Iterator

from setpoint.core.operations import Context, operation
from setpoint.events import store as events
from setpoint.events.entities import Event
from setpoint.models import store as versions
from setpoint.models.registry import store
from setpoint.models.registry.commands import AliasHistory, DropAlias, Dropped, Moves
from setpoint.models.registry.entities import Move
from setpoint.models.review import guard

_NAMES = 20  #: former names of a model that its history is followed through
_BATCH = 1_000  #: moves looked at under each of its names


@operation("models.unalias", needs="models:write")
def unalias(ctx: Context, cmd: DropAlias) -> Dropped:
    """Drop an alias; dropping one that is not there changes nothing."""
    model = store.get(ctx.conn, cmd.model, lock=True)
    number = model.aliases.get(cmd.alias)
    if number is not None:
        guard.require_free(ctx.conn, cmd.model, [cmd.alias])
        versions.drop_alias(ctx.conn, cmd.model, cmd.alias, number=number)
        subject = versions.get(ctx.conn, cmd.model, number).ref
        detail = {"alias": cmd.alias, "was": number, "reason": cmd.reason}
        events.record(ctx, "model.alias_dropped", subject, **detail)
    return Dropped(model=cmd.model, alias=cmd.alias, number=number)


@operation("models.alias-history", needs="models:read")
def alias_history(ctx: Context, cmd: AliasHistory) -> Moves:
    """Return who moved a model's aliases, when, from where to where, and why."""
    model = store.get(ctx.conn, cmd.model)
    found: list[Move] = []
    for name, after, before in _spans(ctx, cmd.model):
        moves = events.latest(
            ctx.conn, subject=f"version:{name}/", kind="model.alias_", limit=_BATCH
        )
        found += [
            _move(each)
            for each in moves
            if after < each.seq < before
            and each.at >= model.created_at
            and cmd.alias in {None, each.detail["alias"]}
        ]
    return Moves(moves=found[: cmd.limit])


def _spans(ctx: Context, model: str) -> Iterator[tuple[str, int, float]]:
    """Yield the names that a model had, newest first, with the events between which it did."""
    before = math.inf
    for _ in range(_NAMES):
        renamed = [
            each
            for each in events.latest(ctx.conn, subject=f"model:{model}", kind="model.renamed")
            if each.subject == f"model:{model}" and each.seq < before
        ]
        yield model, renamed[0].seq if renamed else 0, before
        if not renamed:
            return
        model, before = renamed[0].detail["was"], renamed[0].seq


def _move(event: Event) -> Move:
    return Move(
        alias=event.detail["alias"],
        was=event.detail.get("was"),
        number=event.detail.get("number"),
        actor=event.actor,
        at=event.at,
        reason=event.detail.get("reason", ""),
    )


OPERATIONS = (unalias, alias_history)
