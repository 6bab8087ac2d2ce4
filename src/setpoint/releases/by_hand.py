"""A version put before all traffic at once: by hand, for models that no spec holds; or a graph."""

from setpoint.core.ids import new_id
from setpoint.core.operations import Context
from setpoint.errors import Conflict, Invalid
from setpoint.models import store as models
from setpoint.releases import store, traffic
from setpoint.releases.entities import Policy, Release, Stage, State


def put_live(
    ctx: Context, model: str, version: int, *, reason: str, person: bool = True
) -> Release:
    """Put a version before all traffic of its model, in the caller's transaction.

    It needs no gate, but one that refused it stands. Doing it again returns the release that was
    made then.

    Args:
        ctx: The caller's.
        model: The model.
        version: Its version.
        reason: Why, for the record.
        person: Whether somebody decided it, without the rules; else it follows from what was
            decided before.

    Raises:
        Invalid: If there is no reason.
        Conflict: If its files are elsewhere, its gate refused it, or a release is open.
    """
    if not reason.strip():
        raise Invalid("putting a version live needs a reason", hint="give it with --reason TEXT")
    wanted = models.get(ctx.conn, model, version)
    if not wanted.trained_here or wanted.deleted_at is not None:
        raise Conflict(
            f"the files of version {version} of {model} are not here",
            hint=f"bring it in: setpoint models add {model} FILE --example FILE",
        )
    if wanted.gate is not None and not wanted.may_serve:
        raise Conflict(
            f"version {version} of {model} did not pass its gate",
            hint=f"see why with: setpoint models show {model} {version}",
        )
    models.lock(ctx.conn, model, ctx.now)
    traffic.require_none_open(ctx, model)
    live = traffic.live(ctx, model)
    if live == version:
        return store.find(ctx.conn, model)
    release = Release(
        id=new_id("rel", ctx.now),
        model=model,
        version=version,
        from_version=live,
        stage=Stage.DONE,
        step=0,
        weight=1.0,
        state=State.PROMOTED,
        started_at=ctx.now,
        stage_since=ctx.now,
        limit_from=ctx.now,
        ended_at=ctx.now,
        policy=Policy(),
        verdict_why=f"put live by hand: {reason.strip()}" if person else reason.strip(),
        override_by=ctx.actor if person else "",
        override_reason=reason.strip() if person else "",
    )
    store.add(ctx.conn, release)
    traffic.serve(ctx, release, "release.promoted")
    return release
