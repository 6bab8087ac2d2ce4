"""Tests of versions beside one another: as long as their owner wants, apart from releases."""

import re
from math import isfinite

from msgspec import Struct

from setpoint.control import store
from setpoint.control.inforce import spec_of
from setpoint.control.policies import approvers
from setpoint.control.starting import is_changed, live_version
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid
from setpoint.events.store import record
from setpoint.models import store as models
from setpoint.models.registry.rules import ARM
from setpoint.models.service import set_alias
from setpoint.releases import store as releases
from setpoint.releases.entities import State
from setpoint.serve.entities import ArmTally, Role, SplitArm
from setpoint.serve.routing import MOST_ARMS, WHOLE, laid_out
from setpoint.serve.splits import store as splits

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TAKEN = frozenset(role.value for role in Role)
_UNAPPROVED = frozenset({State.WAITING, State.REJECTED})


class Arm(Struct, frozen=True, kw_only=True):
    """An arm as it is to be."""

    name: str  #: small letters, digits, ``-`` and ``_``; no name of a part in a release
    version: int
    share: float  #: of all keys, above 0


class Split(Struct, frozen=True, kw_only=True):
    model: str
    arms: list[Arm]  #: all there are to be, together at most all keys; none ends the test
    reason: str  #: for the record


class Arms(Struct, frozen=True, kw_only=True):
    model: str
    arms: list[SplitArm]  #: those that answer now, by name
    live: int | None  #: the version that has the other keys, but for a canary's
    tallies: list[ArmTally]  #: of every arm that answered what is still kept


class WhichArms(Struct, frozen=True, kw_only=True):
    model: str


@operation("releases.split", needs="releases:write")
def split(ctx: Context, cmd: Split) -> Arms:
    """Have named arms answer shares of a model's keys, or end that, apart from its releases.

    A key stays in its arm until the arm shrinks or ends; an arm that grows takes keys that were
    in none. Doing it again changes nothing.

    Raises:
        Invalid: If an arm cannot be as it is given, or there is no reason.
        Conflict: If nothing is live, or a version may not serve.
    """
    if not cmd.reason.strip():
        raise Invalid("a test of versions needs a reason", hint="give it with --reason TEXT")
    wanted = _checked(cmd.arms)
    models.lock(ctx.conn, cmd.model, ctx.now)
    live = live_version(ctx.conn, cmd.model)
    if live is None and wanted:
        raise Conflict(
            f"no version of {cmd.model} is live: whoever is in no arm would get no answer",
            hint="bring one live first: setpoint apply, or setpoint releases deploy",
        )
    for version in sorted({version for _, version, _ in wanted}):
        _require_servable(ctx, cmd.model, version)
    before = splits.arms(ctx.conn, cmd.model)
    arms = laid_out(before, wanted)
    splits.split(ctx.conn, cmd.model, arms)
    _name_arms(ctx, cmd, before, arms)
    if arms != before:
        told = {arm.name: f"version {arm.version}, {arm.share:.4%}" for arm in arms}
        record(ctx, "model.split", f"model:{cmd.model}", arms=told, reason=cmd.reason.strip())
    return _arms(ctx, cmd.model)


@operation("releases.arms", needs="releases:read")
def arms(ctx: Context, cmd: WhichArms) -> Arms:
    """Return the arms of a model's test, and what each of them answered."""
    return _arms(ctx, cmd.model)


def _arms(ctx: Context, model: str) -> Arms:
    live = live_version(ctx.conn, model)
    return Arms(
        model=model,
        arms=splits.arms(ctx.conn, model),
        live=live.number if live else None,
        tallies=splits.tallies(ctx.conn, model),
    )


def _checked(arms: list[Arm]) -> list[tuple[str, int, int]]:
    """Return name, version and share in millionths of arms that can be.

    Raises:
        Invalid: Of the first that cannot, or if all together cannot.
    """
    if len({arm.name for arm in arms}) != len(arms) or len(arms) > MOST_ARMS:
        raise Invalid(f"{len(arms)} arms", hint=f"name each once, up to {MOST_ARMS}")
    found = []
    for arm in arms:
        if not _NAME.fullmatch(arm.name) or arm.name in _TAKEN:
            raise Invalid(
                f"{arm.name[:60]!r} cannot be the name of an arm",
                hint="begin with a letter, then letters, digits, - and _; "
                f"not one of {', '.join(sorted(_TAKEN))}",
            )
        size = round(arm.share * WHOLE) if isfinite(arm.share) else 0
        if not 0 < size <= WHOLE:
            raise Invalid(
                f"the arm {arm.name!r} has a share of {arm.share:.6%}",
                hint="write such as 20%; leave the arm out to end it",
            )
        found.append((arm.name, arm.version, size))
    if (total := sum(size for _, _, size in found)) > WHOLE:
        raise Invalid(f"the arms have {total / WHOLE:.4%} together", hint="write up to 100%")
    return found


def _require_servable(ctx: Context, model: str, version: int) -> None:
    """Refuse a version that may not answer requests.

    Raises:
        Conflict: If its files are elsewhere, its gate refused it, or nobody approved of it where
            the spec asks for that.
    """
    wanted = models.get(ctx.conn, model, version)
    if not wanted.trained_here or wanted.deleted_at is not None:
        raise Conflict(
            f"the files of version {version} of {model} are not here",
            hint=f"bring it in: setpoint models add {model} FILE --example FILE",
        )
    applied = store.applied(ctx.conn, model)
    refused = wanted.gate is not None and not wanted.may_serve
    if refused or (applied is not None and not wanted.may_serve):
        raise Conflict(
            f"version {version} of {model} did not pass its gate",
            hint=f"see why with: setpoint models show {model} {version}",
        )
    if applied is None:
        return
    changed = is_changed(ctx.conn, wanted, live_version(ctx.conn, model))
    roles = approvers(spec_of(applied), changed=changed)
    released = releases.of_version(ctx.conn, model, version)
    if roles and not any(one.state not in _UNAPPROVED for one in released):
        raise Conflict(
            f"version {version} of {model} needs approval by {' or '.join(roles)} before it serves",
            hint=f"setpoint releases start {model} {version}, and have it approved",
        )


def _name_arms(ctx: Context, cmd: Split, before: list[SplitArm], now: list[SplitArm]) -> None:
    """Have an alias name the version of each arm: it is found by it, and not deleted meanwhile."""
    names = {arm.name for arm in now}
    for arm in before:
        if arm.name not in names:
            models.drop_alias(ctx.conn, cmd.model, f"{ARM}{arm.name}", number=arm.version)
    for arm in now:
        set_alias(ctx, cmd.model, f"{ARM}{arm.name}", arm.version, cmd.reason.strip())


OPERATIONS = (split, arms)
