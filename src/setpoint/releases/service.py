"""What one can do with releases. A move is one transaction: row, traffic, alias, event."""

from msgspec import Struct
from msgspec.structs import replace

from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Denied, Invalid
from setpoint.models import store as models
from setpoint.models.service import set_alias
from setpoint.releases import store, traffic, transitions
from setpoint.releases.entities import Approval, Look, Policy, Release, Stage, State
from setpoint.releases.evidence import Evidence, merge
from setpoint.releases.objective import close
from setpoint.releases.readings import Readings, read
from setpoint.releases.rules import Advance, Decision, Hold, Promote, RollBack, Wait
from setpoint.releases.rules import decide as judge


class Start(Struct, frozen=True, kw_only=True):
    model: str
    version: int
    policy: Policy = Policy()
    reason: str = ""  #: why this version, for the record


class Which(Struct, frozen=True, kw_only=True):
    release: str  #: its id, or a model's name for the newest one


class Decide(Struct, frozen=True, kw_only=True):
    """A person's decision about a release."""

    release: str  #: its id, or a model's name for the newest one
    reason: str  #: required: it is recorded with who decided


class Answer(Struct, frozen=True, kw_only=True):
    """A person's answer to a release that waits for approval."""

    release: str  #: its id, or a model's name for the newest one
    reason: str  #: required: it is recorded with who answered, as what, and when
    role: str = ""  #: which of the roles asked for; may be left out where there is one


class ListReleases(Struct, frozen=True, kw_only=True):
    model: str | None = None
    limit: int = 100


class Releases(Struct, frozen=True, kw_only=True):
    releases: list[Release]


class ReleaseDetail(Struct, frozen=True, kw_only=True):
    release: Release
    readings: Readings  #: what its evidence says against its policy
    next: Decision  #: what the rules would decide now
    looks: list[Look]  #: oldest first


_KINDS = {
    Advance: "release.advanced",
    Promote: "release.promoted",
    RollBack: "release.rolled_back",
    Hold: "release.held",
}


def start(ctx: Context, cmd: Start) -> Release:
    """Begin to move a model to another version, in the caller's transaction.

    Where the policy asks for approval it waits, and nothing changes for anybody until
    `approve`. Else it begins in the shadow, or, a model's first version, goes live at once.
    Starting the version whose release is open returns that release.

    Raises:
        Conflict: If the version did not pass its gate, is live, or another's release is open.
    """
    version = models.get(ctx.conn, cmd.model, cmd.version)
    if not version.may_serve:
        raise Conflict(
            f"version {cmd.version} of {cmd.model} did not pass its gate",
            hint=f"see why with: setpoint models show {cmd.model} {cmd.version}",
        )
    models.lock(ctx.conn, cmd.model, ctx.now)
    open_one = store.current(ctx.conn, cmd.model)
    if open_one is not None and open_one.version == cmd.version:
        return open_one
    release = _new(ctx, cmd, traffic.live(ctx, cmd.model))
    store.add(ctx.conn, release)
    if release.open and models.alias(ctx.conn, cmd.model, "candidate") is None:
        set_alias(ctx, cmd.model, "candidate", cmd.version, traffic.why(release))
    traffic.serve(ctx, release, "release.started")
    return release


@operation("releases.ls", needs="releases:read")
def ls(ctx: Context, cmd: ListReleases) -> Releases:
    """Return releases, newest first."""
    return Releases(releases=store.ls(ctx.conn, cmd.model, limit=cmd.limit))


@operation("releases.show", needs="releases:read")
def show(ctx: Context, cmd: Which) -> ReleaseDetail:
    """Return one release with its evidence, as it went and as it stands."""
    release = store.find(ctx.conn, cmd.release)
    return ReleaseDetail(
        release=release,
        readings=read(release.evidence, release.policy),
        next=judge(release, release.policy, ctx.now),
        looks=store.looks(ctx.conn, release.id),
    )


@operation("releases.approve", needs="releases:approve")
def approve(ctx: Context, cmd: Answer) -> Release:
    """Let a release that waits for approval begin; only then may its version see traffic."""
    was, approval = _to_answer(ctx, cmd, given=True)
    return _move(ctx, was, transitions.approve(was, approval), "release.approved")


@operation("releases.reject", needs="releases:approve")
def reject(ctx: Context, cmd: Answer) -> Release:
    """End a release that waits for approval; its version never serves."""
    was, approval = _to_answer(ctx, cmd, given=False)
    return _move(ctx, was, transitions.reject(was, approval), "release.rejected")


@operation("releases.hold", needs="releases:decide")
def hold(ctx: Context, cmd: Decide) -> Release:
    """Stop a release where it is: no step, no verdict, traffic as now."""
    was, reason = _to_decide(ctx, cmd)
    return _move(ctx, was, transitions.pause(was, ctx.actor, reason), "release.held")


@operation("releases.resume", needs="releases:decide")
def resume(ctx: Context, cmd: Decide) -> Release:
    """Let a held release go on; with fresh evidence if the rules had held it."""
    was, reason = _to_decide(ctx, cmd)
    after = transitions.resume(was, ctx.actor, reason, ctx.now)
    return _move(ctx, was, after, "release.resumed")


@operation("releases.promote", needs="releases:decide")
def promote(ctx: Context, cmd: Decide) -> Release:
    """Make the candidate live now, on the caller's responsibility."""
    was, reason = _to_decide(ctx, cmd)
    after = transitions.promote(was, ctx.actor, reason, ctx.now)
    return _move(ctx, was, after, "release.promoted")


@operation("releases.rollback", needs="releases:decide")
def rollback(ctx: Context, cmd: Decide) -> Release:
    """Go back to the version before, from an open release or the one last promoted."""
    was, reason = _to_decide(ctx, cmd)
    after = transitions.roll_back(was, ctx.actor, reason, ctx.now)
    if not was.open:
        _must_be_what_serves(ctx, was)
    return _move(ctx, was, after, "release.rolled_back")


def apply_decision(ctx: Context, release: Release, decision: Decision) -> Release:
    """Carry out what the rules decided, in the caller's transaction.

    Writes the release, the deployments, the aliases and one event, or (for `Wait`) nothing.

    Args:
        ctx: The running operation.
        release: As it was when the decision was made.
        decision: From `rules.decide`.

    Returns:
        The release as it stands now.

    Raises:
        Conflict: If the release moved since; nothing is written. Decide anew.
    """
    if isinstance(decision, Wait):
        return release
    models.lock(ctx.conn, release.model, ctx.now)
    was = store.get(ctx.conn, release.id, lock=True)
    if was.revision != release.revision:
        raise Conflict(f"{release.ref} moved meanwhile", hint="decide anew")
    after = transitions.apply(was, decision, ctx.now)
    return _move(ctx, was, after, _KINDS[type(decision)])


def absorb(ctx: Context, release_id: str, more: Evidence, *, look: bool = True) -> Release:
    """Add evidence to a release, in the caller's transaction.

    Evidence about a release that is over changes nothing.

    Args:
        ctx: The running operation.
        release_id: Which release.
        more: What happened since the last call.
        look: Also keep the sum as a point of the release's curves, at `ctx.now`.
    """
    release = store.get(ctx.conn, release_id, lock=True)
    if not release.open:
        return release
    release = replace(release, evidence=_closed(merge(release.evidence, more), release.policy))
    store.put_evidence(ctx.conn, release.id, release.evidence)
    if look:
        store.add_look(ctx.conn, traffic.without_counts(release), ctx.now)
    return release


def _closed(evidence: Evidence, policy: Policy) -> Evidence:
    """Return `evidence` with those blocks judged by the objective whose time has come."""
    if policy.objective is None:
        return evidence
    closed = close(
        evidence.objective,
        metric=policy.objective,
        block=policy.objective_block,
        patience=policy.patience,
        least=policy.least_of_class,
    )
    return replace(evidence, objective=closed)


def _new(ctx: Context, cmd: Start, live: int | None) -> Release:
    if live == cmd.version:
        raise Conflict(f"version {cmd.version} of {cmd.model} is live already")
    waits = bool(cmd.policy.approvers)
    first = live is None and not waits
    state = State.WAITING if waits else State.PROMOTED if first else State.RUNNING
    return Release(
        id=new_id("rel", ctx.now),
        model=cmd.model,
        version=cmd.version,
        from_version=live,
        stage=Stage.DONE if first else Stage.SHADOW,
        step=0,
        weight=1.0 if first else 0.0,
        state=state,
        started_at=ctx.now,
        stage_since=ctx.now,
        limit_from=ctx.now,
        ended_at=ctx.now if first else None,
        policy=cmd.policy,
        verdict_why="the first version: nothing to compare it with" if first else cmd.reason,
    )


def _to_answer(ctx: Context, cmd: Answer, *, given: bool) -> tuple[Release, Approval]:
    """Return the release, locked, and the answer, of a role that was asked.

    Raises:
        Denied: If the role is none of those that the release asks.
    """
    was, reason = _to_decide(ctx, Decide(release=cmd.release, reason=cmd.reason))
    asked = was.policy.approvers
    role = cmd.role or (asked[0] if len(asked) == 1 else "")
    if asked and role not in asked:
        given_as = f"{role!r} may not answer" if role else "say as which role you answer"
        raise Denied(
            f"{was.ref} asks for approval by {' or '.join(asked)}: {given_as}",
            hint=f"add: --as {asked[0]}",
        )
    return was, Approval(given=given, by=ctx.actor, role=role, at=ctx.now, reason=reason)


def _to_decide(ctx: Context, cmd: Decide) -> tuple[Release, str]:
    """Return the release, locked, and the reason."""
    reason = cmd.reason.strip()
    if not reason:
        raise Invalid(
            "a decision about a release needs a reason", hint="give it with --reason TEXT"
        )
    found = store.find(ctx.conn, cmd.release)
    models.lock(ctx.conn, found.model, ctx.now)
    return store.get(ctx.conn, found.id, lock=True), reason


def _must_be_what_serves(ctx: Context, release: Release) -> None:
    traffic.require_none_open(ctx, release.model)
    if traffic.live(ctx, release.model) != release.version:
        raise Conflict(
            f"version {release.version} of {release.model} is not live any more",
            hint="roll back the newest release",
        )


def _move(ctx: Context, was: Release, after: Release, kind: str) -> Release:
    store.put(ctx.conn, after, was=was)
    traffic.serve(ctx, after, kind)
    return after


OPERATIONS = (ls, show, approve, reject, hold, resume, promote, rollback)
