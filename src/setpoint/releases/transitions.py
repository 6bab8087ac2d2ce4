"""From one state of a release to the next, and what serves in each. Pure."""

from datetime import datetime

from msgspec.structs import replace

from setpoint.errors import Conflict
from setpoint.releases.entities import Approval, Release, Stage, State
from setpoint.releases.evidence import Evidence, next_stage
from setpoint.releases.rules import Advance, Decision, Hold, Promote, RollBack, Wait
from setpoint.serve.entities import Deployment, Role


def layout(release: Release) -> list[Deployment]:
    """Return what serves while the release stands as it does.

    Exactly one version is live, and the weights of live and canary add up to 1. A first
    version that waits for approval, or did not get it, leaves nothing to serve.
    """
    version, before = release.version, release.from_version
    if release.state in (State.WAITING, State.REJECTED, State.ROLLED_BACK):
        return [] if before is None else [_one(release, before, Role.LIVE, 1.0)]
    if release.state is State.PROMOTED or before is None:
        return [_one(release, version, Role.LIVE, 1.0)]
    share = release.weight
    role = Role.CANARY if share > 0 else Role.SHADOW
    return [
        _one(release, before, Role.LIVE, 1.0 - share),
        _one(release, version, role, share),
    ]


def _one(release: Release, version: int, role: Role, weight: float) -> Deployment:
    return Deployment(model=release.model, version=version, role=role, weight=weight)


def live_version(release: Release) -> int | None:
    """Return the version that answers whatever the candidate does not; None: there is none."""
    return next((one.version for one in layout(release) if one.role is Role.LIVE), None)


def apply(release: Release, decision: Decision, now: datetime) -> Release:
    """Return `release` as `decision` leaves it; `Wait` leaves it as it is.

    Raises:
        Conflict: If it is over, or a step leads backwards.
    """
    if isinstance(decision, Wait):
        return release
    _must_be_open(release)
    moved = replace(release, verdict_why=decision.why, revision=release.revision + 1)
    match decision:
        case Advance(step=step):
            return _advance(moved, step, now)
        case Promote(proven=proven):
            return replace(_end(moved, State.PROMOTED, now), proven=proven)
        case RollBack():
            return _end(moved, State.ROLLED_BACK, now)
        case Hold():
            return replace(moved, state=State.HELD, held_by_policy=True, weight=0.0)


def _advance(release: Release, step: int, now: datetime) -> Release:
    steps = release.policy.canary_steps
    if not release.step < step <= len(steps):
        raise Conflict(
            f"{release.ref} stands at step {release.step} of {len(steps)}; "
            f"it cannot advance to step {step}"
        )
    return replace(
        release,
        stage=Stage.CANARY,
        step=step,
        weight=steps[step - 1],
        stage_since=now,
        evidence=next_stage(release.evidence),
    )


def _end(release: Release, state: State, now: datetime) -> Release:
    return replace(
        release,
        state=state,
        stage=Stage.DONE,
        weight=1.0 if state is State.PROMOTED else 0.0,
        stage_since=now,
        ended_at=now,
        held_by_policy=False,
    )


def approve(release: Release, approval: Approval) -> Release:
    """Let a release that waited begin: in the shadow, or, a model's first version, live.

    Raises:
        Conflict: If it does not wait for approval.
    """
    _must_wait(release)
    begun = replace(
        release,
        approval=approval,
        verdict_why=_answer(approval),
        revision=release.revision + 1,
        state=State.RUNNING,
        stage_since=approval.at,
        limit_from=approval.at,
    )
    return begun if release.from_version else _end(begun, State.PROMOTED, approval.at)


def reject(release: Release, approval: Approval) -> Release:
    """End a release that waited: its version never serves.

    Raises:
        Conflict: If it does not wait for approval.
    """
    _must_wait(release)
    refused = replace(
        release,
        approval=approval,
        verdict_why=_answer(approval),
        revision=release.revision + 1,
    )
    return _end(refused, State.REJECTED, approval.at)


def pause(release: Release, actor: str, reason: str) -> Release:
    """Hold by a person: traffic stays as it is.

    Raises:
        Conflict: If it is not running.
    """
    if release.state is not State.RUNNING:
        raise Conflict(f"{release.ref} is {_said(release)}; only a running release can be held")
    return _overridden(release, actor, reason, state=State.HELD)


def resume(release: Release, actor: str, reason: str, now: datetime) -> Release:
    """Let a held release go on; the exposure limit counts anew from `now`.

    After a hold by the rules the evidence starts anew as well (the old one would hold it
    again at once), so the error rates are those of this new attempt. After a person's
    hold it is kept.

    Raises:
        Conflict: If it is not held.
    """
    if release.state is not State.HELD:
        raise Conflict(f"{release.ref} is {_said(release)}; only a held release can be resumed")
    running = _overridden(release, actor, reason, state=State.RUNNING)
    running = replace(running, limit_from=now, stage_since=now)
    if not release.held_by_policy:
        return running
    share = release.policy.canary_steps[release.step - 1] if release.step else 0.0
    return replace(running, held_by_policy=False, weight=share, evidence=Evidence())


def promote(release: Release, actor: str, reason: str, now: datetime) -> Release:
    """Promote on a person's word; never recorded as proven.

    Raises:
        Conflict: If it is over.
    """
    _must_be_open(release)
    return _end(_overridden(release, actor, reason), State.PROMOTED, now)


def roll_back(release: Release, actor: str, reason: str, now: datetime) -> Release:
    """Roll back on a person's word: an open release, or the last one promoted.

    Raises:
        Conflict: If it is rolled back already, or there is no version to go back to.
    """
    if release.state is State.ROLLED_BACK:
        raise Conflict(f"{release.ref} is rolled back already")
    if release.state is State.REJECTED:
        raise Conflict(f"{release.ref} was rejected: its version never served")
    _must_not_wait(release)
    if release.from_version is None:
        raise Conflict(
            f"{release.ref} brought the first version: there is none to go back to",
            hint="release another version",
        )
    ended = _end(_overridden(release, actor, reason), State.ROLLED_BACK, now)
    return replace(ended, proven=False)


def _overridden(
    release: Release, actor: str, reason: str, *, state: State | None = None
) -> Release:
    return replace(
        release,
        state=state or release.state,
        revision=release.revision + 1,
        verdict_why=f"{actor}: {reason}",
        override_by=actor,
        override_reason=reason,
    )


def _must_be_open(release: Release) -> None:
    if not release.open:
        raise Conflict(f"{release.ref} is over: it was {_said(release)}")
    _must_not_wait(release)


def _must_not_wait(release: Release) -> None:
    if release.state is State.WAITING:
        raise Conflict(
            f"{release.ref} waits for approval by {' or '.join(release.policy.approvers)}",
            hint=f"setpoint releases approve {release.id} --reason TEXT, or: reject",
        )


def _must_wait(release: Release) -> None:
    if release.state is not State.WAITING:
        said = f"it is {_said(release)}" if release.open else f"it was {_said(release)}"
        raise Conflict(f"{release.ref} does not wait for approval: {said}")


def _answer(approval: Approval) -> str:
    did = "approved" if approval.given else "rejected"
    return f"{did} by {approval.by} as {approval.role}: {approval.reason}"


def _said(release: Release) -> str:
    return release.state.replace("_", " ")
