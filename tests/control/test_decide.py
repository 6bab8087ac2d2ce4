"""What to do next: one thing at a time, in order, until there is nothing to do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.control.made import spec

from setpoint.control.decide import (
    Action,
    GoLive,
    Observed,
    Run,
    StartRelease,
    StepRelease,
    Train,
    decide,
    state,
)
from setpoint.control.entities import Job, JobState, State
from setpoint.monitor.entities import Alarm, AlarmState
from setpoint.monitor.rules import DATA_QUALITY, DRIFT, QUALITY, QUALITY_ESTIMATE
from setpoint.releases.entities import Policy, Release, Stage
from setpoint.releases.entities import State as ReleaseState
from setpoint.releases.evidence import Evidence, GuardTally, Streak
from setpoint.releases.transitions import apply as step

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPEC = spec(react={"retrain": {"at_most": "1/week"}, "stale": "60d"})
QUIET = spec(react={"drift": "alarm", "quality": "alarm"})
NOTHING = Evidence()
WEEK = timedelta(days=7)
OPEN = (ReleaseState.RUNNING, ReleaseState.HELD)


def job(**changed: object) -> Job:
    found = Job(
        id="job_1",
        model="m",
        why="first version",
        training="t1",
        spec="b3:spec",
        state=JobState.REGISTERED,
        requested_at=NOON,
    )
    return replace(found, **changed)


def alarm(monitor: str = DRIFT) -> Alarm:
    return Alarm(
        id=f"alm_{monitor}",
        model="m",
        version=1,
        monitor=monitor,
        state=AlarmState.OPEN,
        opened_at=NOON,
        seen_at=NOON,
        times=1,
        text="it moved",
        evidence={},
        attribution=[],
    )


def release(state: ReleaseState = ReleaseState.RUNNING, evidence: Evidence = NOTHING) -> Release:
    return Release(
        id="rel_1",
        model="m",
        version=2,
        from_version=1,
        stage=Stage.SHADOW if state in OPEN else Stage.DONE,
        step=0,
        weight=0.0,
        state=state,
        started_at=NOON,
        stage_since=NOON,
        limit_from=NOON,
        policy=Policy(shadow=10, steps=(0.5, 1.0), step_requests=10),
        evidence=evidence,
        verdict_why="as it is",
    )


def seen(**changed: object) -> Observed:
    """A model on target: version 1 is live and was made from what is in force."""
    found = Observed(
        spec=SPEC,
        spec_address="b3:spec",
        training="t1",
        live=1,
        live_born=NOON,
        live_training="t1",
        job=job(version=1),
    )
    return replace(found, **changed)


jobs = st.none() | st.builds(
    job,
    state=st.sampled_from(JobState),
    training=st.sampled_from(["t1", "t2"]),
    requested_at=st.sampled_from([NOON, NOON + timedelta(days=5), NOON + timedelta(days=30)]),
)
evidences = st.sampled_from(
    [Evidence(), Evidence(requests_in_stage=100), Evidence(canary_streak=Streak(longest=50))]
)
releases = st.none() | st.builds(release, st.sampled_from(ReleaseState), evidences)
alarms = st.lists(
    st.sampled_from([DRIFT, QUALITY, QUALITY_ESTIMATE, DATA_QUALITY]).map(alarm), max_size=3
)
observed = st.builds(
    seen,
    spec=st.sampled_from([SPEC, QUIET]),
    live=st.none() | st.just(1),
    candidate=st.none() | st.just(3),
    live_training=st.sampled_from([None, "t1", "t2"]),
    release=releases,
    job=jobs,
    alarms=alarms,
)
times = st.integers(0, 100 * 24).map(lambda hours: NOON + timedelta(hours=hours))


@given(observed, times)
def test_the_same_sight_at_the_same_time_gives_the_same_action(
    found: Observed, now: datetime
) -> None:
    assert decide(found, now) == decide(replace(found), now)


@given(observed, times)
def test_nothing_is_trained_or_started_while_a_release_is_open(
    found: Observed, now: datetime
) -> None:
    action = decide(found, now)
    if found.release is not None and found.release.state is ReleaseState.RUNNING:
        assert action is None or isinstance(action, StepRelease)
    if found.release is not None and found.release.state is ReleaseState.HELD:
        assert action is None


@given(observed, times)
def test_a_training_is_asked_for_once_while_one_is_open(found: Observed, now: datetime) -> None:
    if found.job is not None and found.job.state is JobState.REQUESTED:
        assert not isinstance(decide(found, now), Train)


@given(observed, times)
def test_the_limit_on_retraining_holds_unless_what_makes_a_version_changed(
    found: Observed, now: datetime
) -> None:
    action = decide(found, now)
    if isinstance(action, Train) and found.live is not None and found.job is not None:
        changed = found.job.training != found.training
        assert changed or now - found.job.requested_at >= WEEK


@given(observed, times)
def test_an_alarm_that_is_not_reacted_to_never_retrains(found: Observed, now: datetime) -> None:
    heard = [a for a in found.alarms if found.spec is SPEC and a.monitor in (DRIFT, QUALITY)]
    action = decide(found, now)
    if isinstance(action, Train) and action.cause is not None:
        assert action.cause in [a.id for a in heard]


@given(observed, times)
def test_a_version_is_compared_unless_it_is_the_first(found: Observed, now: datetime) -> None:
    action = decide(found, now)
    assert not (isinstance(action, GoLive) and found.live is not None)
    assert not (isinstance(action, StartRelease) and found.live is None)


def test_a_model_on_target_is_left_alone() -> None:
    assert decide(seen(), NOON) is None
    assert state(seen())[0] is State.ON_TARGET


def test_a_changed_spec_is_trained_at_once() -> None:
    action = decide(seen(training="t2"), NOON)
    assert isinstance(action, Train)
    assert "changed" in action.why


def test_a_changed_spec_whose_version_was_refused_is_not_tried_again() -> None:
    tried = job(training="t2", state=JobState.REFUSED)
    assert decide(seen(training="t2", job=tried), NOON + 5 * WEEK) is None


def test_a_first_training_that_failed_waits_for_a_change() -> None:
    failed = seen(live=None, live_training=None, job=job(state=JobState.FAILED, outcome="no luck"))
    assert decide(failed, NOON + 5 * WEEK) is None
    assert state(failed) == (State.OFF_TARGET, "no version is live: no luck")
    assert isinstance(decide(replace(failed, training="t2"), NOON), Train)


@pytest.mark.parametrize("monitor", [DRIFT, QUALITY])
def test_an_alarm_retrains_when_the_limit_allows_and_is_named_as_cause(monitor: str) -> None:
    found = seen(alarms=[alarm(monitor)])
    assert decide(found, NOON + WEEK - timedelta(seconds=1)) is None
    action = decide(found, NOON + WEEK)
    assert isinstance(action, Train)
    assert action.cause == f"alm_{monitor}"
    assert state(found) == (State.OFF_TARGET, "it moved")


@pytest.mark.parametrize("monitor", [QUALITY_ESTIMATE, DATA_QUALITY])
def test_estimates_and_bad_data_alone_never_retrain(monitor: str) -> None:
    assert decide(seen(alarms=[alarm(monitor)]), NOON + WEEK) is None


def test_a_version_is_replaced_when_it_is_stale() -> None:
    assert decide(seen(), NOON + timedelta(days=60, seconds=-1)) is None
    action = decide(seen(), NOON + timedelta(days=60))
    assert isinstance(action, Train)
    assert action.why == "stale: the live version is 60 days old"


def test_a_held_release_is_what_a_person_is_told_first() -> None:
    held = seen(release=release(ReleaseState.HELD), alarms=[alarm()])
    assert state(held) == (State.HELD, "release of version 2 is held: as it is")


def test_a_training_that_was_requested_waits_for_the_release() -> None:
    waiting = seen(release=release(), job=job(state=JobState.REQUESTED))
    assert decide(waiting, NOON) is None
    assert state(waiting) == (State.SETTLING, "version 2 is in shadow")
    assert isinstance(decide(replace(waiting, release=release(ReleaseState.PROMOTED)), NOON), Run)


def test_what_settles_is_named() -> None:
    assert state(seen(live=None, job=None)) == (
        State.SETTLING,
        "the first version is not live yet",
    )
    assert state(seen(job=job(state=JobState.REQUESTED)))[1] == "training: first version"
    assert state(seen(candidate=3))[1] == "version 3 waits for its release"


class World:
    """The smallest thing that actions change: numbers where the controller has tables."""

    def __init__(self, found: Observed, *, good: bool) -> None:
        self.seen, self.good, self.versions = found, good, 3

    def act(self, action: Action, now: datetime) -> None:
        found = self.seen
        if isinstance(action, Train):
            made = job(state=JobState.REQUESTED, training=found.training, requested_at=now)
            self.seen = replace(found, job=made)
        elif isinstance(action, Run):
            self.versions += 1
            ended = JobState.REGISTERED if self.good else JobState.REFUSED
            number = self.versions if self.good else found.candidate
            self.seen = replace(found, job=replace(action.job, state=ended), candidate=number)
        elif isinstance(action, GoLive):
            self._live(action.version, now)
        elif isinstance(action, StartRelease):
            started = replace(release(), version=action.version, limit_from=now)
            self.seen = replace(found, release=started, candidate=None)
        else:
            after = step(action.release, action.decision, now)
            self.seen = replace(found, release=after)
            if after.state is ReleaseState.PROMOTED:
                self._live(after.version, now)

    def _live(self, version: int, now: datetime) -> None:
        found = self.seen
        candidate = None if found.candidate == version else found.candidate
        training = found.job.training if found.job else None
        self.seen = replace(
            found,
            live=version,
            live_born=now,
            live_training=training,
            candidate=candidate,
            alarms=[],
        )


@given(observed, times, st.booleans())
def test_acting_comes_to_rest_and_stays_there(found: Observed, now: datetime, good: bool) -> None:  # noqa: FBT001
    world = World(found, good=good)
    for _ in range(12):
        action = decide(world.seen, now)
        if action is None:
            break
        world.act(action, now)
    assert decide(world.seen, now) is None


def test_evidence_moves_a_release_step_by_step_to_its_end() -> None:
    tally = GuardTally(
        weight=0.5, canary_events=0, total_events=0, canary_requests=5000, requests=10_000
    )
    shown = Evidence(requests_in_stage=100, guards={"errors": (tally,)})
    running = replace(release(evidence=shown), policy=Policy(loss_margin=None, steps=(0.5, 1.0)))
    world = World(seen(release=running), good=True)
    action = decide(world.seen, NOON)
    assert action is None, "500 rows in the shadow come first"
    enough = replace(running, evidence=replace(shown, requests_in_stage=500))
    world.seen = replace(world.seen, release=enough)
    action = decide(world.seen, NOON)
    assert isinstance(action, StepRelease)
    world.act(action, NOON)
    moved = world.seen.release
    assert moved is not None
    assert (moved.stage, moved.weight) == (Stage.CANARY, 0.5)
    assert decide(world.seen, NOON) is None
