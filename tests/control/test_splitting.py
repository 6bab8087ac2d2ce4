"""Tests of versions beside one another: who may be in one, and what is counted of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL, labelled, predicted, shadowed
from tests.control.test_follow import Log
from tests.releases.begun import begun
from tests.releases.test_by_hand import added

from setpoint.control import applying, why
from setpoint.control.splitting import Arm, Arms, Split, WhichArms, arms, split
from setpoint.control.starting import Deploy, deploy
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.models.entities import Check, Gate
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.service import ShowModel, show
from setpoint.releases import service as releases
from setpoint.releases.service import Decide, Start
from setpoint.serve.entities import CountRecord


@pytest.fixture
def log(backend: LocalBackend, tmp_path: Path) -> Iterator[Log]:
    found = Log(backend, tmp_path / "project")
    yield found
    found.writer.close()


def iris(backend: LocalBackend, *given: Arm, reason: str = "which is better") -> Arms:
    return backend.call(split, Split(model="iris", arms=list(given), reason=reason))


def blue(version: int = 2, share: float = 0.2) -> Arm:
    return Arm(name="blue", version=version, share=share)


@pytest.fixture
def two(backend: LocalBackend) -> LocalBackend:
    assert [added(backend), added(backend)] == [1, 2]
    backend.call(deploy, Deploy(model="iris", version=1, reason="the first"))
    return backend


def test_a_test_begins_changes_and_ends_on_record(two: LocalBackend) -> None:
    found = iris(two, blue())
    assert [(arm.name, arm.version, arm.share) for arm in found.arms] == [("blue", 2, 0.2)]
    assert found.live == 1
    assert two.call(show, ShowModel(model="iris")).aliases == {"live": 1, "arm-blue": 2}
    grown = iris(two, blue(share=0.5), Arm(name="same", version=1, share=0.5))
    assert [arm.share for arm in grown.arms] == [0.5, 0.5]
    assert iris(two).arms == []
    assert two.call(show, ShowModel(model="iris")).aliases == {"live": 1}


def test_a_test_outlives_what_releases_do(two: LocalBackend) -> None:
    iris(two, blue())
    assert added(two) == 3
    two.call(deploy, Deploy(model="iris", version=3, reason="newer"))
    found = two.call(arms, WhichArms(model="iris"))
    assert ([arm.version for arm in found.arms], found.live) == ([2], 3)


def test_a_version_in_a_test_is_not_deleted(two: LocalBackend) -> None:
    iris(two, blue())
    with pytest.raises(Conflict, match="arm-blue"):
        two.call(
            registry.delete_version, commands.DeleteVersion(model="iris", number=2, reason="x")
        )
    iris(two)
    two.call(registry.delete_version, commands.DeleteVersion(model="iris", number=2, reason="x"))
    with pytest.raises(Conflict, match="not here"):
        iris(two, blue())


@pytest.mark.parametrize(
    "given",
    [
        [Arm(name="live", version=2, share=0.1)],
        [Arm(name="Blue", version=2, share=0.1)],
        [Arm(name="2", version=2, share=0.1)],
        [blue(share=0.0)],
        [blue(share=1.1)],
        [blue(share=float("nan"))],
        [blue(), blue()],
        [blue(share=0.6), Arm(name="green", version=1, share=0.5)],
    ],
)
def test_arms_that_cannot_be_are_refused(two: LocalBackend, given: list[Arm]) -> None:
    with pytest.raises(Invalid):
        iris(two, *given)


def test_a_test_needs_a_reason_a_live_version_and_versions_that_may_serve(
    backend: LocalBackend,
) -> None:
    refused = Gate(checks=[Check(name="objective", passed=False)], passed=False)
    assert [added(backend), added(backend, refused)] == [1, 2]
    with pytest.raises(Conflict, match="no version of iris is live"):
        iris(backend, blue(1))
    backend.call(deploy, Deploy(model="iris", version=1, reason="the first"))
    with pytest.raises(Invalid, match="reason"):
        iris(backend, blue(1), reason=" ")
    with pytest.raises(Conflict, match="did not pass its gate"):
        iris(backend, blue(2))
    with pytest.raises(NotFound):
        iris(backend, blue(9))


def test_what_a_spec_wants_approved_is_in_no_test_before(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path, release={"approve": {"by": ["risk"], "when": "always"}})
    for run in ("run_1", "run_2"):
        made.version(backend, run=run)
    begun(backend, Start(model=MODEL, version=1))
    with pytest.raises(Conflict, match="needs approval by risk"):
        backend.call(split, Split(model=MODEL, arms=[blue()], reason="try"))
    assert backend.call(split, Split(model=MODEL, arms=[blue(1)], reason="try")).arms


# --- what is counted ----------------------------------------------------------------------


ARM, TEST = b"\5", b"\6"


def test_arms_are_no_evidence_of_a_release_and_are_watched(log: Log) -> None:
    log.write(
        predicted(["a"], at=NOON),
        shadowed(["a"], [0.4], at=NOON),
        predicted(["b", "c"], at=NOON, version=2, roles=ARM * 2, arm="blue"),
        predicted([], at=NOON, version=2, scores=[], failed=2, status=500, roles=ARM, arm="blue"),
        CountRecord(at_us=predicted([], at=NOON).at_us, model=MODEL, version=2, rows=5, requests=5,
                    role=ARM[0]),
        labelled(["b"], [1.0], at=NOON),
    )  # fmt: skip
    log.follow()
    found = log.evidence()
    assert found.requests_in_stage == 1
    (errors,) = found.guards["errors"]
    assert (errors.requests, errors.total_events) == (2, 0)
    assert {key.role for key in log.profiles() if key.version == 2} == {"arm"}
    (watched,) = [one for key, one in log.joints().items() if key.version == 2]
    assert (watched.predicted, watched.positives) == (2, 1)


def test_what_testers_ask_is_indexed_and_counts_for_nothing(log: Log) -> None:
    log.write(
        predicted(["a"], at=NOON, version=2, roles=TEST, arm="shadow"),
        predicted(["b"], at=NOON, version=1, roles=TEST, arm="live", failed=1, status=500),
        labelled(["a", "b"], [1.0, 0.0], at=NOON),
    )
    log.follow()
    assert log.counts() == (2, 2)
    assert (log.profiles(), log.joints()) == ({}, {})
    found = log.evidence()
    assert (found.requests_in_stage, found.guards) == (0, {})
    told = log.home.call(why.trace, why.Why(id="a")).links[0].says
    assert told.startswith("m/2 (test shadow) answered 0.5")


def test_how_well_arms_answer_is_told_beside_what_answered_meanwhile(log: Log) -> None:
    log.write(
        predicted(["old"], [0.1], at=NOON.replace(hour=1)),
        predicted(["b1", "b2"], [0.8, 0.4], at=NOON, version=2, roles=ARM * 2, arm="blue"),
        predicted(["a1", "a2"], [0.5, float("nan")], at=NOON),
        predicted(["t"], [0.9], at=NOON, roles=TEST, arm="live"),
        labelled(["b1", "b2", "a1", "a2"], [1.0, 0.0, 1.0, 1.0], at=NOON),
    )
    log.follow()
    found = {one.arm: one for one in log.home.call(arms, WhichArms(model=MODEL)).tallies}
    assert found.keys() == {"blue", "live"}
    b, a = found["blue"], found["live"]
    assert (b.version, b.rows, b.scored, b.labelled) == (2, 2, 2, 2)
    assert (b.score, b.label, b.error) == pytest.approx((0.6, 0.5, 0.1))
    assert b.error_sd == pytest.approx(0.06 * 2**0.5)
    assert (a.rows, a.scored, a.labelled, a.error_sd) == (2, 1, 2, None)
    assert a.error == pytest.approx(0.25)


def test_a_release_ends_as_it_would_and_the_test_goes_on(log: Log) -> None:
    log.home.call(split, Split(model=MODEL, arms=[blue()], reason="try"))
    log.home.call(releases.promote, Decide(release=log.release, reason="better"))
    found = log.home.call(arms, WhichArms(model=MODEL))
    assert ([arm.name for arm in found.arms], found.live) == (["blue"], 2)
    log.home.call(split, Split(model=MODEL, arms=[], reason="done"))
    assert applying.plan(log.home, made.project(log.home.settings.home / "p")).models
