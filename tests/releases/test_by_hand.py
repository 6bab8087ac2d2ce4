"""Versions that no spec holds, put live by hand."""

import pytest

from setpoint.control.starting import Deploy, Serve, deploy, serve
from setpoint.control.why import Why, trace
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.models.entities import Check, Gate, Signature
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.service import Register, ShowModel, register, show
from setpoint.releases.entities import Release, State
from setpoint.releases.service import Decide, rollback
from setpoint.serve import store as serving


def added(backend: LocalBackend, gate: Gate | None = None) -> int:
    cmd = Register(
        model="iris",
        run_id="",
        why="brought in",
        flavor="sklearn",
        artifact="b3:00",
        signature=Signature(inputs=[]),
        gate=gate,
    )
    return backend.call(register, cmd).number


def live(backend: LocalBackend) -> list[tuple[int, str]]:
    with backend.reading() as conn:
        return [(one.version, str(one.role)) for one in serving.deployments(conn, "iris")]


def put(backend: LocalBackend, version: int, reason: str = "tried it") -> Release:
    return backend.call(deploy, Deploy(model="iris", version=version, reason=reason))


def test_who_put_a_version_live_is_traced_and_what_is_not_known_is_said_once(
    backend: LocalBackend,
) -> None:
    added(backend)
    release = put(backend, 1)
    assert release.at_once
    for subject in (release.id, "iris/1"):
        found = backend.call(trace, Why(id=subject))
        says = {one.kind: one.says for one in found.links}
        assert says["decision"] == "decided in person: tried it"
        assert says["gate"] == "no gate was run"
        assert [one for one in found.incomplete if not one.startswith("artifact")] == [
            "training iris/1: it was elsewhere: nothing on record says on what"
        ]


def test_versions_take_over_at_once_on_record_and_can_go_back(backend: LocalBackend) -> None:
    assert [added(backend), added(backend)] == [1, 2]  # without a run, as often as one likes
    first = put(backend, 1)
    assert (first.state, first.override_reason) == (State.PROMOTED, "tried it")
    assert live(backend) == [(1, "live")]
    second = put(backend, 2, "better on Mondays")
    assert live(backend) == [(2, "live")]
    assert backend.call(show, ShowModel(model="iris")).aliases == {"live": 2}
    assert put(backend, 2).id == second.id
    backend.call(rollback, Decide(release=second.id, reason="worse on Tuesdays"))
    assert live(backend) == [(1, "live")]


def test_what_a_gate_refused_or_is_elsewhere_is_not_put_live(backend: LocalBackend) -> None:
    refused = Gate(checks=[Check(name="objective", passed=False)], passed=False)
    number = added(backend, refused)
    with pytest.raises(Conflict, match="did not pass its gate"):
        put(backend, number)
    backend.call(registry.create, commands.CreateModel(model="far"))
    backend.call(registry.add_version, commands.AddVersion(model="far", source="s3://far/1"))
    with pytest.raises(Conflict, match="not here"):
        backend.call(deploy, Deploy(model="far", version=1, reason="x"))
    with pytest.raises(Invalid, match="needs a reason"):
        put(backend, added(backend), " ")


def test_versions_can_be_named_that_no_release_deploys(backend: LocalBackend) -> None:
    refused = Gate(checks=[Check(name="objective", passed=False)], passed=False)
    assert [added(backend), added(backend), added(backend, refused)] == [1, 2, 3]
    put(backend, 1)

    def name(versions: str, model: str = "iris") -> list[int]:
        cmd = Serve(model=model, versions=versions, reason="to compare")
        return backend.call(serve, cmd).numbers

    assert name("all") == [1, 2]
    assert name("latest 1") == [2]
    found = backend.call(serve, Serve(model="iris", versions="live , 2", reason="to compare"))
    assert (found.versions, found.numbers, found.labels) == ("2, live", [1, 2], {"live": 1})
    with backend.reading() as conn:
        assert serving.settings_of(conn, "iris").versions == "2, live"
        assert serving.generation(conn, "iris") == 4
    assert name("") == []
    with pytest.raises(Invalid, match="names no versions"):
        name("two of them")
    with pytest.raises(NotFound, match="no version of 'far'"):
        name("all", "far")
