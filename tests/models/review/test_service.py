"""Approvals, protected aliases and comments."""

from datetime import timedelta

import pytest

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Denied, Invalid, NotFound
from setpoint.events import store as events
from setpoint.models import service as models
from setpoint.models.registry import aliases, commands
from setpoint.models.registry import service as registry
from setpoint.models.review import service


@pytest.fixture
def guest(backend: LocalBackend) -> LocalBackend:
    """A store with two versions of ``guest``."""
    backend.call(registry.create, commands.CreateModel(model="guest"))
    for _ in range(2):
        backend.call(registry.add_version, commands.AddVersion(model="guest", source="s"))
    return backend


def decide(store: LocalBackend, number: int, role: str, *, approved: bool = True) -> None:
    cmd = service.Decide(
        model="guest", number=number, role=role, approved=approved, reason="looked at it"
    )
    store.call(service.approve, cmd)


def point(store: LocalBackend, number: int) -> None:
    cmd = models.SetAlias(model="guest", alias="champion", number=number, reason="best")
    store.call(models.alias, cmd)


def protect(store: LocalBackend, *roles: str) -> None:
    cmd = service.Protect(model="guest", alias="champion", roles=list(roles), reason="audited")
    store.call(service.protect, cmd)


def test_a_protected_alias_moves_once_every_role_has_approved(guest: LocalBackend) -> None:
    protect(guest, "risk", "law")
    decide(guest, 1, "risk")
    with pytest.raises(Denied, match="lacks approval of law"):
        point(guest, 1)
    decide(guest, 1, "law")
    point(guest, 1)
    with pytest.raises(Denied, match="law, risk"):
        point(guest, 2)


def test_the_newest_decision_of_a_role_holds(guest: LocalBackend, clock: ManualClock) -> None:
    protect(guest, "risk")
    decide(guest, 1, "risk")
    clock.advance(timedelta(seconds=1))
    decide(guest, 1, "risk", approved=False)
    with pytest.raises(Denied):
        point(guest, 1)
    found = guest.call(service.approvals, service.AboutVersion(model="guest", number=1))
    assert found.standing == {"risk": False}
    assert [each.approved for each in found.approvals] == [False, True]
    with guest.engine.begin() as conn:
        told = events.since(conn, kind="model.rejected")
    assert [(each.subject, each.detail["role"], each.actor) for each in told] == [
        ("version:guest/1", "risk", "ada")
    ]


def test_a_protected_alias_is_not_taken_away_by_any_way_round(guest: LocalBackend) -> None:
    point(guest, 1)
    protect(guest)
    with pytest.raises(Denied):
        guest.call(aliases.unalias, commands.DropAlias(model="guest", alias="champion"))
    with pytest.raises(Denied):
        guest.call(registry.delete_version, commands.DeleteVersion(model="guest", number=1))
    with pytest.raises(Denied):
        guest.call(registry.delete, commands.DeleteModel(model="guest"))
    with pytest.raises(Denied, match="does not move by hand"):
        point(guest, 2)
    guest.call(service.unprotect, service.Unprotect(model="guest", alias="champion", reason="over"))
    point(guest, 2)


def test_decisions_need_a_role_a_reason_and_a_version(guest: LocalBackend) -> None:
    for role, reason in (("", "why"), ("risk", " ")):
        cmd = service.Decide(model="guest", number=1, role=role, reason=reason)
        with pytest.raises(Invalid):
            guest.call(service.approve, cmd)
    with pytest.raises(NotFound):
        decide(guest, 9, "risk")
    unprotect = service.Unprotect(model="guest", alias="champion", reason="r")
    with pytest.raises(NotFound):
        guest.call(service.unprotect, unprotect)


def test_an_approval_that_was_asked_for_waits_until_its_role_decides(
    guest: LocalBackend, clock: ManualClock
) -> None:
    def waiting() -> list[tuple[int, str, str]]:
        found = guest.call(service.asked, service.ListAsked(model="guest")).asked
        return [(each.number, each.role, each.reason) for each in found]

    for role, reason in (("risk", "for the audit"), ("law", "new data"), ("risk", "again")):
        cmd = service.AskApproval(model="guest", number=1, role=role, reason=reason)
        guest.call(service.ask, cmd)
        clock.advance(timedelta(seconds=1))
    assert waiting() == [(1, "law", "new data"), (1, "risk", "again")]
    decide(guest, 2, "risk")
    decide(guest, 1, "risk", approved=False)
    assert waiting() == [(1, "law", "new data")]
    guest.call(registry.delete_version, commands.DeleteVersion(model="guest", number=1))
    assert waiting() == []
    cmd = service.AskApproval(model="guest", number=2, role="law", reason=" ")
    with pytest.raises(Invalid, match="why"):
        guest.call(service.ask, cmd)


def test_what_was_said_is_found_by_version_and_follows_the_model_s_name(
    guest: LocalBackend,
) -> None:
    guest.call(service.comment, service.AddComment(model="guest", number=1, text="**good**"))
    guest.call(service.comment, service.AddComment(model="guest", text="of the model"))
    guest.call(registry.rename, commands.RenameModel(model="guest", new="caller"))

    def said(number: int | None) -> list[tuple[str, str]]:
        about = service.AboutVersion(model="caller", number=number)
        found = guest.call(service.comments, about).comments
        return [(each.subject, each.text) for each in found]

    assert said(1) == [("version:caller/1", "**good**")]
    assert said(0) == [("model:caller", "of the model")]
    assert sorted(said(None)) == sorted(said(0) + said(1))
    guest.call(registry.create, commands.CreateModel(model="guest"))
    assert guest.call(service.comments, service.AboutVersion(model="guest")).comments == []
