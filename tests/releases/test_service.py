from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection
from tests.releases.begun import begun

from setpoint.core.clock import ManualClock
from setpoint.core.operations import Operation
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events import store as events
from setpoint.models import store as models
from setpoint.models.entities import Signature
from setpoint.models.service import Register, register
from setpoint.releases import service, store
from setpoint.releases.entities import Policy, Release, Stage, State
from setpoint.releases.evidence import Evidence, GuardTally, paired_loss
from setpoint.releases.objective import Pair, paired_objective
from setpoint.releases.rules import Advance, Decision, Hold, Promote, RollBack, Wait
from setpoint.releases.service import Decide, ListReleases, Start, Which
from setpoint.serve import store as serving

MODEL = "flights-late"
Served = list[tuple[int, str, float]]


@pytest.fixture
def release(backend: LocalBackend, versions: Callable[[int], None]) -> Release:
    """Version 1 is live, version 2 in the shadow."""
    versions(3)
    start(backend, 1)
    return start(backend, 2)


def start(backend: LocalBackend, version: int) -> Release:
    return begun(backend, Start(model=MODEL, version=version, reason="drift"))


def act(backend: LocalBackend, release: Release, decision: Decision) -> Release:
    with backend.engine.begin() as conn:
        return service.apply_decision(backend.context(conn), release, decision)


def person(
    backend: LocalBackend, op: Operation[Decide, Release], reason: str = "because"
) -> Release:
    return backend.call(op, Decide(release=MODEL, reason=reason))


def served(backend: LocalBackend) -> Served:
    with backend.engine.begin() as conn:
        return [(d.version, str(d.role), d.weight) for d in serving.deployments(conn, MODEL)]


def aliases(backend: LocalBackend) -> dict[str, int]:
    with backend.engine.begin() as conn:
        return {each.alias: each.number for each in models.aliases(conn, MODEL)}


def kinds(backend: LocalBackend, release: Release) -> list[str]:
    with backend.engine.begin() as conn:
        return [event.kind for event in events.since(conn, subject=release.ref)]


def test_the_first_version_goes_live_at_once(
    backend: LocalBackend, versions: Callable[[int], None]
) -> None:
    versions(1)
    first = start(backend, 1)
    assert (first.state, first.stage, first.from_version) == (
        State.PROMOTED,
        Stage.DONE,
        None,
    )
    assert served(backend) == [(1, "live", 1.0)]
    assert aliases(backend) == {"live": 1}


def test_a_release_begins_in_the_shadow(backend: LocalBackend, release: Release) -> None:
    assert served(backend) == [(1, "live", 1.0), (2, "shadow", 0.0)]
    assert aliases(backend) == {"candidate": 2, "live": 1}
    assert (release.stage, release.state, release.from_version) == (
        Stage.SHADOW,
        State.RUNNING,
        1,
    )


def test_a_release_goes_in_steps_to_live(
    backend: LocalBackend, release: Release, clock: ManualClock
) -> None:
    clock.advance(timedelta(hours=1))
    first = act(backend, release, Advance(step=1, why="500 rows"))
    assert served(backend) == [(1, "live", 0.95), (2, "canary", 0.05)]
    assert (first.stage, first.step, first.stage_since) == (Stage.CANARY, 1, clock.now())
    second = act(backend, first, Advance(step=2, why="500 rows"))
    assert served(backend) == [(1, "live", 0.75), (2, "canary", 0.25)]
    clock.advance(timedelta(hours=1))
    last = act(backend, second, Promote(why="log loss -0.02", proven=True))
    assert served(backend) == [(2, "live", 1.0)]
    assert aliases(backend) == {"live": 2}
    assert (last.state, last.proven, last.ended_at) == (State.PROMOTED, True, clock.now())
    assert kinds(backend, release) == [
        "release.started",
        "release.advanced",
        "release.advanced",
        "release.promoted",
    ]
    with backend.engine.begin() as conn:
        assert store.get(conn, release.id) == last
        assert events.latest(conn, kind="release.promoted")[0].detail["why"] == "log loss -0.02"


def test_a_rollback_leaves_the_version_before_alone_and_live(
    backend: LocalBackend, release: Release
) -> None:
    canary = act(backend, release, Advance(step=1, why=""))
    over = act(backend, canary, RollBack(why="log loss +0.081"))
    assert over.state is State.ROLLED_BACK
    assert served(backend) == [(1, "live", 1.0)]
    assert aliases(backend) == {"live": 1}


def test_waiting_writes_nothing(backend: LocalBackend, release: Release) -> None:
    before = kinds(backend, release)
    assert act(backend, release, Wait(why="rows")) == release
    assert kinds(backend, release) == before


def test_what_was_decided_on_an_older_state_is_not_done(
    backend: LocalBackend, release: Release
) -> None:
    person(backend, service.rollback)
    with pytest.raises(Conflict, match="moved meanwhile"):
        act(backend, release, Promote(why="", proven=True))
    assert served(backend) == [(1, "live", 1.0)]


def test_a_decision_taken_twice_is_done_once(backend: LocalBackend, release: Release) -> None:
    act(backend, release, Advance(step=1, why=""))
    with pytest.raises(Conflict):
        act(backend, release, Advance(step=1, why=""))
    assert kinds(backend, release).count("release.advanced") == 1


def test_no_step_leads_backwards_or_beyond_the_last(
    backend: LocalBackend, release: Release
) -> None:
    canary = act(backend, release, Advance(step=2, why=""))
    for step in (1, 2, 3):
        with pytest.raises(Conflict, match="cannot advance"):
            act(backend, canary, Advance(step=step, why=""))


def test_a_failure_within_a_move_leaves_no_half_of_it(
    backend: LocalBackend, release: Release
) -> None:
    def crash(conn: Connection) -> None:
        service.apply_decision(backend.context(conn), release, Promote(why="", proven=True))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), backend.engine.begin() as conn:
        crash(conn)
    assert served(backend) == [(1, "live", 1.0), (2, "shadow", 0.0)]
    assert aliases(backend) == {"candidate": 2, "live": 1}
    assert kinds(backend, release) == ["release.started"]


def test_held_by_the_rules_it_loses_its_traffic_and_starts_anew_when_resumed(
    backend: LocalBackend, release: Release, clock: ManualClock
) -> None:
    canary = act(backend, release, Advance(step=1, why=""))
    with backend.engine.begin() as conn:
        canary = service.absorb(backend.context(conn), canary.id, evidence())
    held = act(backend, canary, Hold(why="inconclusive"))
    assert served(backend) == [(1, "live", 1.0), (2, "shadow", 0.0)]
    assert held.evidence == canary.evidence
    clock.advance(timedelta(days=9))
    resumed = person(backend, service.resume)
    assert served(backend) == [(1, "live", 0.95), (2, "canary", 0.05)]
    assert resumed.evidence == Evidence()
    assert resumed.limit_from == clock.now()
    assert resumed.override_by == "ada"


def test_held_by_a_person_it_keeps_traffic_and_evidence(
    backend: LocalBackend, release: Release
) -> None:
    canary = act(backend, release, Advance(step=1, why=""))
    with backend.engine.begin() as conn:
        canary = service.absorb(backend.context(conn), canary.id, evidence())
    held = person(backend, service.hold, "public holiday")
    assert (held.state, held.override_reason) == (State.HELD, "public holiday")
    assert served(backend) == [(1, "live", 0.95), (2, "canary", 0.05)]
    assert person(backend, service.resume).evidence == canary.evidence


def test_a_person_may_promote_and_it_is_not_called_proven(
    backend: LocalBackend, release: Release
) -> None:
    over = person(backend, service.promote, "known good")
    assert (over.state, over.proven, over.override_by) == (State.PROMOTED, False, "ada")
    assert served(backend) == [(2, "live", 1.0)]
    with backend.engine.begin() as conn:
        (event,) = events.latest(conn, kind="release.promoted", limit=1)
    assert (event.actor, event.detail["override_reason"]) == ("ada", "known good")


def test_the_last_promotion_can_be_taken_back(backend: LocalBackend, release: Release) -> None:
    person(backend, service.promote)
    over = person(backend, service.rollback)
    assert (over.id, over.state) == (release.id, State.ROLLED_BACK)
    assert served(backend) == [(1, "live", 1.0)]
    assert aliases(backend) == {"live": 1}


def test_an_older_promotion_cannot_be_taken_back(backend: LocalBackend, release: Release) -> None:
    person(backend, service.promote)
    newer = start(backend, 3)
    with pytest.raises(Conflict, match="is open"):
        backend.call(service.rollback, Decide(release=release.id, reason="late"))
    act(backend, newer, Promote(why="", proven=True))
    with pytest.raises(Conflict, match="not live any more"):
        backend.call(service.rollback, Decide(release=release.id, reason="late"))
    assert served(backend) == [(3, "live", 1.0)]


def test_the_first_version_has_nothing_to_go_back_to(
    backend: LocalBackend, versions: Callable[[int], None]
) -> None:
    versions(1)
    start(backend, 1)
    with pytest.raises(Conflict, match="none to go back to"):
        person(backend, service.rollback)


@pytest.mark.parametrize(
    "op",
    [service.hold, service.resume, service.promote, service.rollback],
    ids=lambda op: op.name,
)
def test_a_persons_decision_needs_a_reason(
    backend: LocalBackend, release: Release, op: Operation[Decide, Release]
) -> None:
    with pytest.raises(Invalid, match="needs a reason"):
        person(backend, op, "  ")


def test_only_one_release_of_a_model_is_open(backend: LocalBackend, release: Release) -> None:
    with pytest.raises(Conflict, match="open already"):
        start(backend, 3)
    person(backend, service.hold)
    with pytest.raises(Conflict, match="open already"):
        start(backend, 3)
    assert served(backend) == [(1, "live", 1.0), (2, "shadow", 0.0)]


def test_starting_what_is_open_returns_it(backend: LocalBackend, release: Release) -> None:
    assert start(backend, 2) == release
    assert kinds(backend, release) == ["release.started"]


def test_what_is_live_cannot_be_released_again(
    backend: LocalBackend, versions: Callable[[int], None]
) -> None:
    versions(1)
    start(backend, 1)
    with pytest.raises(Conflict, match="live already"):
        start(backend, 1)


def test_a_version_without_a_passed_gate_is_refused(backend: LocalBackend) -> None:
    backend.call(
        register,
        Register(
            model=MODEL,
            run_id="run_1",
            why="test",
            flavor="python",
            artifact="none",
            signature=Signature(inputs=[]),
        ),
    )
    with pytest.raises(Conflict, match="did not pass its gate"):
        start(backend, 1)
    assert served(backend) == []


def test_an_unknown_version_is_refused(backend: LocalBackend) -> None:
    with pytest.raises(NotFound):
        start(backend, 1)


def test_resuming_what_runs_and_holding_what_is_held_are_refused(
    backend: LocalBackend, release: Release
) -> None:
    with pytest.raises(Conflict, match="only a held release"):
        person(backend, service.resume)
    person(backend, service.hold)
    with pytest.raises(Conflict, match="only a running release"):
        person(backend, service.hold)


def test_a_release_that_is_over_cannot_be_promoted(backend: LocalBackend, release: Release) -> None:
    person(backend, service.rollback)
    with pytest.raises(Conflict, match="is over: it was rolled back"):
        person(backend, service.promote)
    with pytest.raises(Conflict, match="rolled back already"):
        person(backend, service.rollback)


def evidence() -> Evidence:
    tally = GuardTally(
        weight=0.5, canary_events=0, total_events=1, canary_requests=100, requests=200
    )
    return Evidence(
        guards={"errors": (tally,)},
        loss=paired_loss([0.1, -0.1, 0.3]),
        requests_in_stage=200,
    )


def test_evidence_adds_up_and_is_shown_as_it_went(
    backend: LocalBackend, release: Release, clock: ManualClock
) -> None:
    for _ in range(2):
        clock.advance(timedelta(minutes=10))
        with backend.engine.begin() as conn:
            service.absorb(backend.context(conn), release.id, evidence())
    detail = backend.call(service.show, Which(release=MODEL))
    assert detail.release.evidence.requests_in_stage == 400
    assert [look.evidence.requests_in_stage for look in detail.looks] == [200, 400]
    assert detail.readings.guards[0].stable_events == 2
    assert detail.readings.loss is not None
    assert detail.readings.loss.labels == 6
    assert detail.next == Wait(why="shadow rows: 400 of 500")


def test_blocks_of_the_objective_close_as_evidence_comes_and_stay_as_they_were(
    backend: LocalBackend, versions: Callable[[int], None], clock: ManualClock
) -> None:
    versions(2)
    policy = Policy(objective="roc_auc", least_of_class=1)
    start(backend, 1)
    opened = begun(backend, Start(model=MODEL, version=2, policy=policy))
    hour = timedelta(hours=1)
    better = [
        Pair(at=0, positive=True, candidate=0.9, live=0.2),
        Pair(at=0, positive=False, candidate=0.1, live=0.4),
    ]
    for rows, until in ((better, 0), ([], 7200), (better, 7200)):
        more = Evidence(objective=paired_objective(rows, block=hour, until=until))
        clock.advance(hour)
        with backend.engine.begin() as conn:
            service.absorb(backend.context(conn), opened.id, more)
    detail = backend.call(service.show, Which(release=MODEL))
    assert [len(look.evidence.objective.judged) for look in detail.looks] == [0, 1, 1]
    assert all(not look.evidence.objective.open for look in detail.looks), "counts are not kept"
    assert detail.readings.objective is not None
    assert detail.readings.objective.mean == 1.0
    assert detail.readings.objective.rows == 2


def test_evidence_that_comes_too_late_changes_nothing(
    backend: LocalBackend, release: Release
) -> None:
    over = person(backend, service.rollback)
    with backend.engine.begin() as conn:
        assert service.absorb(backend.context(conn), release.id, evidence()) == over


def test_evidence_that_came_since_the_decision_is_not_lost(
    backend: LocalBackend, release: Release
) -> None:
    with backend.engine.begin() as conn:
        service.absorb(backend.context(conn), release.id, evidence())
    advanced = act(backend, release, Advance(step=1, why=""))
    assert advanced.evidence.loss.n == 3
    assert advanced.evidence.requests_in_stage == 0


def test_releases_are_listed_newest_first(backend: LocalBackend, release: Release) -> None:
    listed = backend.call(service.ls, ListReleases(model=MODEL)).releases
    assert {each.version for each in listed} == {1, 2}
    assert backend.call(service.ls, ListReleases(model="other")).releases == []
