"""A release begins by the spec in force, waits for approval where that asks, and keeps its turn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.control import made
from tests.control.conftest import Loop
from tests.control.made import CODE, MODEL

from setpoint.control import applying, starting, store, why
from setpoint.control.controller import Controller, request_training
from setpoint.control.decide import GoLive, Run, StartRelease, Train
from setpoint.control.engine import in_process
from setpoint.control.entities import Job, JobState, State
from setpoint.control.observe import observe
from setpoint.control.service import ListStatus, Status, ls
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, NotFound
from setpoint.models import service as models
from setpoint.pipelines.local import StepRun
from setpoint.releases import service as releases
from setpoint.releases.entities import State as ReleaseState
from setpoint.releases.service import Answer, Decide, Which

ASKED: dict[str, Any] = {"approve": {"by": ["risk"], "when": "spec changed"}}
ALWAYS: dict[str, Any] = {"approve": {"by": ["risk", "owner"], "when": "always"}}


def status(home: LocalBackend) -> Status:
    return home.call(ls, ListStatus(model=MODEL)).models[0]


def candidate(home: LocalBackend) -> int | None:
    with home.engine.begin() as conn:
        return observe(home.context(conn), store.need(conn, MODEL)).candidate


def approve(home: LocalBackend, role: str = "risk") -> None:
    home.call(releases.approve, Answer(release=MODEL, reason="looked at it", role=role))


def retrain(home: LocalBackend, controller: Controller) -> None:
    """Ask for a training of the spec in force, as an alarm would, and carry it out."""
    with home.engine.begin() as conn:
        ctx = home.context(conn)
        request_training(ctx, observe(ctx, store.need(conn, MODEL)), why="it drifted")
    controller.tick()


# ---- approval, as the spec says --------------------------------------------------------------


def test_the_plan_says_when_an_approval_will_be_needed(
    backend: LocalBackend, tmp_path: Path
) -> None:
    def actions(**changed: Any) -> list[str]:
        return applying.plan(backend, made.project(tmp_path, **changed)).models[0].actions

    waits = "wait for approval by risk, before it sees any traffic"
    first = actions(release=ASKED)
    assert first[1:] == [waits, "bring it live"]
    made.apply(backend, tmp_path, release=ASKED)
    Controller(backend).tick()
    approve(backend)
    assert actions(release=ASKED) == []
    assert actions(release=ASKED, train={"seed": 2})[1] == waits
    assert actions(release={"approve": None}, train={"seed": 2})[1].startswith("release it")
    Controller(backend).tick()
    code = CODE.replace("random_state=seed", "random_state=seed + 1")
    with_code = applying.plan(backend, made.project(tmp_path, code=code, release=ASKED))
    assert with_code.models[0].actions[1] == waits, "code makes a version as the spec does"


def test_a_changed_spec_waits_and_a_retrained_version_does_not(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path, release=ASKED)
    controller = Controller(backend)
    assert [type(a) for _, a in controller.tick().actions] == [Train, Run, GoLive]
    found = status(backend)
    assert (found.state, found.live) == (State.HELD, None)
    assert found.why.startswith("version 1 waits for approval by risk: setpoint releases approve")
    assert controller.tick().actions == [], "it waits for ever"
    approve(backend)
    controller.tick()
    assert (status(backend).state, status(backend).live) == (State.ON_TARGET, 1)
    retrain(backend, controller)
    release = status(backend).release
    assert release is not None
    assert (release.version, release.state) == (2, ReleaseState.RUNNING), "the same spec"
    backend.call(releases.promote, Decide(release=MODEL, reason="fine"))
    made.apply(backend, tmp_path, release=ASKED, train={"seed": 2})
    assert [type(a) for _, a in controller.tick().actions] == [Train, Run, StartRelease]
    release = status(backend).release
    assert release is not None
    assert (release.version, release.state) == (3, ReleaseState.WAITING)
    assert status(backend).state is State.HELD


def test_always_asks_for_every_version_and_a_rejected_one_is_not_tried_again(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path, release=ALWAYS)
    controller = Controller(backend)
    controller.tick()
    backend.call(releases.reject, Answer(release=MODEL, reason="unexplained", role="owner"))
    assert controller.tick().actions == []
    found = status(backend)
    assert found.state is State.OFF_TARGET
    assert found.why == ("no version is live: the first was rejected by ada as owner: unexplained")
    made.apply(backend, tmp_path, release=ALWAYS, train={"seed": 2})
    controller.tick()
    approve(backend)
    retrain(backend, controller)
    release = status(backend).release
    assert release is not None
    assert (release.version, release.state) == (3, ReleaseState.WAITING)


def test_by_hand_asks_for_the_same_approval(backend: LocalBackend, tmp_path: Path) -> None:
    made.apply(backend, tmp_path, release=ALWAYS)
    made.version(backend)
    by_hand = starting.StartRelease(model=MODEL, version=1, reason="I want it")
    release = backend.call(starting.start, by_hand)
    assert release.state is ReleaseState.WAITING
    assert release.policy.shadow == 20, "it is judged as the spec says, too"
    unknown = starting.StartRelease(model="other", version=1, reason="?")
    with pytest.raises(NotFound, match="no spec of model 'other' is applied"):
        backend.call(starting.start, unknown)


def test_who_approved_as_what_and_why_is_in_why(backend: LocalBackend, tmp_path: Path) -> None:
    made.apply(backend, tmp_path, release=ASKED)
    controller = Controller(backend)
    controller.tick()

    def told(subject: str) -> list[tuple[str, str, str]]:
        found = backend.call(why.trace, why.Why(id=subject))
        assert found.incomplete == []
        return [(x.kind, x.id, x.says) for x in found.links if x.kind in ("approval", "decision")]

    name = backend.call(releases.show, Which(release=MODEL)).release.id
    assert told(name) == [("approval", "-", "waits for approval by risk")]
    approve(backend)
    given = ("approval", "ada", "approved it as risk: looked at it")
    assert told(name) == [given]
    assert given in told(f"{MODEL}/1")


# ---- one candidate at a time, whoever starts what --------------------------------------------


def test_a_release_by_hand_while_a_training_runs_keeps_to_its_version(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    controller = Controller(backend)
    controller.tick()
    made.version(backend, run="run_by_hand")
    by_hand = starting.StartRelease(model=MODEL, version=2, reason="try it")

    def during(home: LocalBackend, job: Job, told: Callable[[StepRun], None]) -> Job | None:
        home.call(starting.start, by_hand)
        return in_process(home, job, told)

    made.apply(backend, tmp_path, train={"seed": 2})
    busy = Controller(backend, engine=during)
    assert [type(a) for _, a in busy.tick().actions] == [Train, Run]
    assert made.jobs(backend)[0].state is JobState.REGISTERED
    release = status(backend).release
    assert release is not None
    assert (release.version, release.state) == (2, ReleaseState.RUNNING)
    assert candidate(backend) == 3, "what the training made is next"
    backend.call(releases.hold, Decide(release=MODEL, reason="lunch"))
    backend.call(releases.resume, Decide(release=MODEL, reason="back"))
    assert candidate(backend) == 3, "nor does a move of the release take its name"
    backend.call(releases.rollback, Decide(release=MODEL, reason="no"))
    assert candidate(backend) == 3
    assert [type(a) for _, a in controller.tick().actions] == [StartRelease]
    release = status(backend).release
    assert release is not None
    assert (release.version, release.state) == (3, ReleaseState.RUNNING)


def test_a_release_by_hand_of_another_version_leaves_the_candidate_its_turn(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    for run in ("run_2", "run_3"):
        made.version(backend, run=run)
    alias = models.SetAlias(model=MODEL, alias="candidate", number=3, reason="next")
    backend.call(models.alias, alias)
    by_hand = starting.StartRelease(model=MODEL, version=2, reason="this one first")
    assert backend.call(starting.start, by_hand).version == 2
    assert candidate(backend) == 3
    third = starting.StartRelease(model=MODEL, version=3, reason="and this")
    with pytest.raises(Conflict, match="open already"):
        backend.call(starting.start, third)
    backend.call(releases.promote, Decide(release=MODEL, reason="good"))
    assert candidate(backend) == 3
    backend.call(starting.start, third)
    assert candidate(backend) is None, "it is being released"
    backend.call(releases.rollback, Decide(release=MODEL, reason="no"))
    assert candidate(backend) is None


def test_nobody_is_answered_by_a_version_before_its_approval(
    loop: Callable[[], Loop],
) -> None:
    one = loop()
    one.apply(release=ASKED, train={"seed": 2})
    one.tick()
    assert one.traffic(10) == {1}
    assert one.release().evidence.requests_in_stage == 0, "nor scored in the shadow"
    approve(one.home)
    answered: set[int] = set()
    for _ in range(10):
        answered |= one.traffic(10)
        if answered == {1, 2}:
            return
    raise AssertionError(answered)
