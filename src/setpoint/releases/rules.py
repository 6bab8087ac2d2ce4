"""What a release does next. Pure: evidence, policy and time in, one decision out."""

from datetime import datetime
from typing import TypeAlias

from msgspec import Struct

from setpoint.releases.entities import (
    Inconclusive,
    OnBreach,
    Policy,
    Release,
    Stage,
    State,
)
from setpoint.releases.readings import Readings, in_words, read


class Advance(Struct, frozen=True, tag="advance"):
    """Give the candidate the share of `policy.canary_steps[step - 1]`."""

    step: int
    why: str


class Promote(Struct, frozen=True, tag="promote"):
    """Make the candidate live."""

    why: str
    proven: bool  #: False: the exposure limit passed and the policy promotes anyway


class RollBack(Struct, frozen=True, tag="roll_back"):
    """Take the candidate out; the version before stays live."""

    why: str


class Hold(Struct, frozen=True, tag="hold"):
    """Take the candidate's traffic away and wait for a person."""

    why: str


class Wait(Struct, frozen=True, tag="wait"):
    """Change nothing; `why` says what is being waited for."""

    why: str


Decision: TypeAlias = Advance | Promote | RollBack | Hold | Wait


def decide(release: Release, policy: Policy, now: datetime) -> Decision:
    """Judge a release. May be called after every request: the error rates still hold.

    In order: a breach ends it (in the shadow too, before anyone saw an answer); the
    exposure limit ends it; proof of non-inferiority promotes it once the steps are through;
    a quiet stage that has seen its rows leads to the next step.

    Args:
        release: With its evidence so far.
        policy: Normally `release.policy`.
        now: Compared with `release.limit_from`.
    """
    if release.state is not State.RUNNING:
        return Wait(why=_idle(release))
    readings = read(release.evidence, policy)
    if readings.breaches:
        why = "; ".join(readings.breaches)
        return RollBack(why=why) if policy.on_breach is OnBreach.ROLLBACK else Hold(why=why)
    if now - release.limit_from >= policy.at_most:
        return _at_limit(readings, policy)
    if release.stage is Stage.SHADOW:
        return _in_shadow(release, policy, readings)
    return _in_canary(release, policy, readings)


def _idle(release: Release) -> str:
    if release.state is State.WAITING:
        return f"approval by {' or '.join(release.policy.approvers)}"
    if release.state is State.HELD:
        return "a person: resume, promote or roll it back"
    return f"nothing: it was {release.state.replace('_', ' ')}"


def _at_limit(readings: Readings, policy: Policy) -> Decision:
    if not readings.missing and not readings.doubted:
        return Promote(why=readings.summary, proven=True)
    why = f"inconclusive after {in_words(policy.at_most)}: {'; '.join(readings.open)}"
    if policy.inconclusive is Inconclusive.PROMOTE and readings.worries:
        return RollBack(why=f"not proven in time, and {'; '.join(readings.worries)}")
    if policy.inconclusive is Inconclusive.PROMOTE:
        return Promote(why=f"not proven, promoted by policy; {why}", proven=False)
    return Hold(why=why)


def _in_shadow(release: Release, policy: Policy, readings: Readings) -> Decision:
    seen = release.evidence.requests_in_stage
    if seen < policy.shadow:
        return Wait(why=f"shadow rows: {seen:,} of {policy.shadow:,}")
    if policy.canary_steps:
        return Advance(step=1, why=f"{seen:,} rows in the shadow; {readings.summary}")
    return _when_proven(readings)


def _in_canary(release: Release, policy: Policy, readings: Readings) -> Decision:
    seen, share = release.evidence.requests_in_stage, f"{release.weight:.3g}"
    if seen < policy.step_requests and not readings.clearly_better:
        return Wait(why=f"rows at a share of {share}: {seen:,} of {policy.step_requests:,}")
    if release.step >= len(policy.canary_steps):
        return _when_proven(readings)
    if readings.doubted or (readings.missing and readings.worries):
        return Wait(why="; ".join(readings.worries))
    return Advance(
        step=release.step + 1,
        why=f"{seen:,} rows at a share of {share}; {readings.summary}",
    )


def _when_proven(readings: Readings) -> Decision:
    if readings.missing or readings.doubted:
        return Wait(why=f"proof: {'; '.join(readings.open)}")
    return Promote(why=readings.summary, proven=True)
