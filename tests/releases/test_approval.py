"""A release that asks for approval serves nobody before a person of the role gave it."""

from collections.abc import Callable

import pytest
from tests.releases.begun import begun

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Denied, Invalid
from setpoint.events import store as events
from setpoint.models import store as models
from setpoint.releases import service
from setpoint.releases.entities import Policy, Release, Stage, State
from setpoint.releases.rules import Advance, Promote
from setpoint.releases.service import Answer, Decide, Start, Which
from setpoint.serve import store as serving

MODEL = "flights-late"
ASKS = Policy(approvers=("risk", "owner"), shadow=100)


def start(backend: LocalBackend, version: int, policy: Policy = ASKS) -> Release:
    return begun(backend, Start(model=MODEL, version=version, policy=policy, reason="drift"))


def served(backend: LocalBackend) -> list[tuple[int, str]]:
    with backend.engine.begin() as conn:
        return [(d.version, str(d.role)) for d in serving.deployments(conn, MODEL)]


def aliases(backend: LocalBackend) -> dict[str, int]:
    with backend.engine.begin() as conn:
        return {each.alias: each.number for each in models.aliases(conn, MODEL)}


def answer(role: str = "risk", reason: str = "reviewed") -> Answer:
    return Answer(release=MODEL, reason=reason, role=role)


@pytest.fixture
def waiting(backend: LocalBackend, versions: Callable[[int], None]) -> Release:
    """Version 1 is live, version 2 waits."""
    versions(3)
    start(backend, 1, Policy())
    return start(backend, 2)


def test_it_waits_and_nothing_changes_for_anybody(backend: LocalBackend, waiting: Release) -> None:
    assert (waiting.state, waiting.stage) == (State.WAITING, Stage.SHADOW)
    assert served(backend) == [(1, "live")], "not even in the shadow"
    assert aliases(backend) == {"live": 1, "candidate": 2}
    shown = backend.call(service.show, Which(release=MODEL))
    assert shown.next.why == "approval by risk or owner"
    assert start(backend, 2).id == waiting.id, "starting it again is the same release"
    with pytest.raises(Conflict, match="open already"):
        start(backend, 3)


def test_approved_it_begins_and_its_time_counts_from_then(
    backend: LocalBackend, clock: ManualClock, waiting: Release
) -> None:
    clock.advance(ASKS.at_most * 2)
    begun = backend.call(service.approve, answer())
    assert (begun.state, begun.stage, begun.limit_from) == (
        State.RUNNING,
        Stage.SHADOW,
        clock.now(),
    )
    assert served(backend) == [(1, "live"), (2, "shadow")]
    given = begun.approval
    assert given is not None
    assert (given.given, given.by, given.role, given.reason) == (True, "ada", "risk", "reviewed")
    with backend.engine.begin() as conn:
        last = events.latest(conn, subject=waiting.ref, limit=1)[0]
    assert last.kind == "release.approved"
    assert (last.actor, last.at, last.detail["approval"]["role"]) == ("ada", clock.now(), "risk")


def test_rejected_it_never_serves_and_the_next_may_begin(
    backend: LocalBackend, waiting: Release
) -> None:
    ended = backend.call(service.reject, answer("owner", "not explained"))
    assert (ended.id, ended.state, ended.weight) == (waiting.id, State.REJECTED, 0.0)
    assert ended.verdict_why == "rejected by ada as owner: not explained"
    assert served(backend) == [(1, "live")]
    assert aliases(backend) == {"live": 1}
    assert start(backend, 3).state is State.WAITING


def test_a_first_version_waits_too_and_is_live_once_approved(
    backend: LocalBackend, versions: Callable[[int], None]
) -> None:
    versions(2)
    assert start(backend, 1).state is State.WAITING
    assert served(backend) == []
    assert backend.call(service.reject, answer()).state is State.REJECTED
    assert served(backend) == []
    assert aliases(backend) == {}
    start(backend, 2)
    assert backend.call(service.approve, answer()).state is State.PROMOTED
    assert served(backend) == [(2, "live")]
    assert aliases(backend) == {"live": 2}


@pytest.mark.parametrize("op", [service.hold, service.promote, service.rollback, service.resume])
def test_no_other_word_of_a_person_lets_it_pass(
    backend: LocalBackend, waiting: Release, op: object
) -> None:
    with pytest.raises(Conflict):
        backend.call(op, Decide(release=MODEL, reason="in a hurry"))  # type: ignore[arg-type]
    assert served(backend) == [(1, "live")]
    with backend.engine.begin() as conn:
        assert events.latest(conn, subject=waiting.ref, limit=1)[0].kind == "release.started"


@pytest.mark.parametrize("decision", [Advance(step=1, why="?"), Promote(why="?", proven=True)])
def test_no_decision_of_the_rules_lets_it_pass(
    backend: LocalBackend, waiting: Release, decision: Advance | Promote
) -> None:
    with backend.engine.begin() as conn, pytest.raises(Conflict, match="waits for approval"):
        service.apply_decision(backend.context(conn), waiting, decision)
    assert served(backend) == [(1, "live")]


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("role", ["", "intern"])
def test_only_a_role_that_was_asked_may_answer(backend: LocalBackend, role: str) -> None:
    for op in (service.approve, service.reject):
        with pytest.raises(Denied, match="asks for approval by risk or owner") as caught:
            backend.call(op, answer(role))
        assert caught.value.hint == "add: --as risk"
    assert served(backend) == [(1, "live")]


def test_where_one_role_is_asked_it_need_not_be_said(
    backend: LocalBackend, versions: Callable[[int], None]
) -> None:
    versions(1)
    start(backend, 1, Policy(approvers=("risk",)))
    given = backend.call(service.approve, answer("")).approval
    assert given is not None
    assert given.role == "risk"


@pytest.mark.usefixtures("waiting")
def test_an_answer_needs_a_reason_and_is_given_once(backend: LocalBackend) -> None:
    with pytest.raises(Invalid, match="needs a reason"):
        backend.call(service.approve, answer(reason=" "))
    backend.call(service.approve, answer())
    for op in (service.approve, service.reject):
        with pytest.raises(Conflict, match="does not wait for approval"):
            backend.call(op, answer())


@pytest.mark.usefixtures("waiting")
def test_what_is_live_can_be_rolled_back_once_the_waiting_one_is_rejected(
    backend: LocalBackend,
) -> None:
    backend.call(service.approve, answer())
    live = backend.call(service.promote, Decide(release=MODEL, reason="good"))
    start(backend, 3)
    undo = Decide(release=live.id, reason="it is wrong")
    with pytest.raises(Conflict) as caught:
        backend.call(service.rollback, undo)
    assert "releases reject" in str(caught.value.hint)
    backend.call(service.reject, answer())
    backend.call(service.rollback, undo)
    assert served(backend) == [(1, "live")]
