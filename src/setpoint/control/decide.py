"""What to do next about one model. Pure: what is wanted and what is observed in, actions out.

The controller observes, asks `decide`, acts, and asks again until there is nothing to do.
Each action changes what is observed next, so a controller that was killed between any two
of them goes on with the rest, and one that ticks twice at the same time does nothing twice.
"""

from datetime import datetime

from msgspec import Struct

from setpoint.control.entities import Job, JobState, State
from setpoint.control.spec.entities import Spec
from setpoint.monitor.entities import Alarm
from setpoint.monitor.rules import DRIFT, QUALITY
from setpoint.releases import rules as release_rules
from setpoint.releases.entities import Release
from setpoint.releases.entities import State as ReleaseState


class Observed(Struct, frozen=True, kw_only=True):
    """All that decisions about one model depend on."""

    spec: Spec
    spec_address: str  #: of the spec in the object store
    training: str  #: hash of what makes a version: the parts of the spec training reads, and code
    live: int | None = None  #: version that answers
    live_born: datetime | None = None  #: when it was registered
    live_training: str | None = None  #: hash its training had
    live_inputs: tuple[str, ...] = ()  #: names of what it takes
    live_spec: str = ""  #: address of the spec it was trained by
    candidate: int | None = None  #: registered, may serve, never released
    candidate_why: str = ""
    candidate_changed: bool = False  #: made by another spec or code than the live one
    release: Release | None = None  #: the newest one
    job: Job | None = None  #: the training that was requested last
    alarms: list[Alarm] = []  #: not closed


class Train(Struct, frozen=True, kw_only=True, tag="train"):
    """Request a training."""

    why: str
    cause: str | None = None


class Run(Struct, frozen=True, kw_only=True, tag="run"):
    """Do the training that was requested."""

    job: Job


class GoLive(Struct, frozen=True, kw_only=True, tag="go-live"):
    """Deploy the first version; there is nothing to compare it with."""

    version: int


class StartRelease(Struct, frozen=True, kw_only=True, tag="start-release"):
    """Begin to release a version beside the live one."""

    version: int
    why: str


class StepRelease(Struct, frozen=True, kw_only=True, tag="step-release"):
    """Do what its evidence says about the release in progress."""

    release: Release
    decision: release_rules.Decision


Action = Train | Run | GoLive | StartRelease | StepRelease


def decide(seen: Observed, now: datetime) -> Action | None:
    """Return the next thing to do, None if there is nothing.

    In order: judge the release in progress, finish the training that was requested, bring
    the first version live, release a candidate, and only then ask for another training.
    A training waits for an open release: its version would be the next candidate, and
    there is one candidate at a time.
    """
    release = seen.release
    if release is not None and release.state is ReleaseState.RUNNING:
        verdict = release_rules.decide(release, release.policy, now)
        if isinstance(verdict, release_rules.Wait):
            return None
        return StepRelease(release=release, decision=verdict)
    if release is not None and release.open:
        return None  # held or waiting for approval: a person decides
    if seen.job is not None and seen.job.state == JobState.REQUESTED:
        return Run(job=seen.job)
    if seen.candidate is not None and seen.live is None:
        return GoLive(version=seen.candidate)
    if seen.candidate is not None:
        return StartRelease(version=seen.candidate, why=seen.candidate_why)
    return _training(seen, now)


def _training(seen: Observed, now: datetime) -> Train | None:
    if seen.live is None:
        tried = seen.job is not None and not _changed_since(seen, seen.job)
        return None if tried else Train(why="first version")
    if seen.job is not None and not _may_retrain(seen, seen.job, now):
        return None
    if seen.live_training != seen.training and (seen.job is None or _changed_since(seen, seen.job)):
        return Train(why="the spec or its code changed")
    for alarm in seen.alarms:
        if _reacts(seen.spec, alarm.monitor):
            return Train(why=f"{alarm.monitor} alarm: {alarm.text}", cause=alarm.id)
    stale = seen.spec.react.stale
    if stale is not None and seen.live_born is not None and now - seen.live_born >= stale.after:
        days = (now - seen.live_born).days
        return Train(why=f"stale: the live version is {days} days old")
    return None


def _may_retrain(seen: Observed, last: Job, now: datetime) -> bool:
    if _changed_since(seen, last):
        return True
    return now - last.requested_at >= seen.spec.react.retrain.at_most.period


def _changed_since(seen: Observed, job: Job) -> bool:
    """Tell whether what makes a version is not what it was when `job` was requested."""
    return job.training != seen.training


def _reacts(spec: Spec, monitor: str) -> bool:
    """Tell whether an alarm asks for a retrain; an estimate or bad data alone never does."""
    reactions = {DRIFT: spec.react.drift, QUALITY: spec.react.quality}
    return reactions.get(monitor) == "retrain"


def state(seen: Observed) -> tuple[State, str]:
    """Return what a person is told first, and the reason."""
    release = seen.release
    if release is not None and release.state is ReleaseState.HELD:
        return (
            State.HELD,
            f"release of version {release.version} is held: {release.verdict_why}",
        )
    if release is not None and release.state is ReleaseState.WAITING:
        return State.HELD, _waits(release)
    if seen.live is None:
        return _before_the_first(seen)
    if seen.alarms:
        return State.OFF_TARGET, "; ".join(alarm.text for alarm in seen.alarms[:3])
    if release is not None and release.state is ReleaseState.RUNNING:
        return State.SETTLING, f"version {release.version} is in {release.stage}"
    if seen.job is not None and seen.job.state == JobState.REQUESTED:
        return State.SETTLING, f"training: {seen.job.why}"
    if seen.candidate is not None:
        return State.SETTLING, f"version {seen.candidate} waits for its release"
    return State.ON_TARGET, f"version {seen.live} holds its objective"


def _waits(release: Release) -> str:
    roles = " or ".join(release.policy.approvers)
    return (
        f"version {release.version} waits for approval by {roles}: "
        f"setpoint releases approve {release.id}"
    )


def _before_the_first(seen: Observed) -> tuple[State, str]:
    if seen.job is not None and seen.job.state in (JobState.REFUSED, JobState.FAILED):
        return State.OFF_TARGET, f"no version is live: {seen.job.outcome}"
    release = seen.release
    if release is not None and release.state is ReleaseState.REJECTED:
        return State.OFF_TARGET, f"no version is live: the first was {release.verdict_why}"
    return State.SETTLING, "the first version is not live yet"
