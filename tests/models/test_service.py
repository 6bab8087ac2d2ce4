"""The registry: numbers without gaps, aliases that move, overrides that stay."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events import store as events
from setpoint.models import rowset, service
from setpoint.models.entities import Check, Gate, Input, Parity, Signature

SIGNATURE = Signature(inputs=[Input(name="distance", datatype="FP64")])
FAILED = Gate(checks=[Check(name="objective", passed=False, value=0.6)], passed=False)
PASSED = Gate(checks=[Check(name="objective", passed=True, value=0.7)], passed=True)


def command(run_id: str = "run_1", **changes: object) -> service.Register:
    values: dict[str, object] = {
        "model": "late",
        "run_id": run_id,
        "why": "first version",
        "flavor": "lightgbm",
        "artifact": "b3:00",
        "signature": SIGNATURE,
    }
    return service.Register(**(values | changes))  # type: ignore[arg-type]


def alias(backend: LocalBackend, name: str, number: int, reason: str = "better") -> None:
    cmd = service.SetAlias(model="late", alias=name, number=number, reason=reason)
    backend.call(service.alias, cmd)


def test_numbers_are_consecutive_and_start_at_one(backend: LocalBackend) -> None:
    numbers = [backend.call(service.register, command(f"run_{i}")).number for i in range(3)]
    assert numbers == [1, 2, 3]


def test_registering_a_run_again_returns_the_version_it_got(backend: LocalBackend) -> None:
    first = backend.call(service.register, command(why="first version"))
    again = backend.call(service.register, command(why="something else"))
    assert again == first
    with backend.engine.begin() as conn:
        assert len(events.since(conn, kind="model.registered")) == 1


def test_a_version_comes_back_as_it_was_registered(backend: LocalBackend) -> None:
    made = backend.call(
        service.register,
        command(
            onnx="b3:11",
            parity=Parity(held=True, rows=10, max_difference=1e-16, probes={"NaN": 3}),
            metrics={"roc_auc": 0.7},
            gate=PASSED,
            datasets={"flights": 2},
            card="For Grüße 🛫",
            rows="b3:22",
            size=12,
        ),
    )
    found = backend.call(service.get, service.Which(model="late", number=1))
    assert found == made
    assert found.may_serve


def test_a_metric_that_is_not_a_number_stays_one(backend: LocalBackend) -> None:
    backend.call(service.register, command(metrics={"roc_auc": math.nan, "rmse": 1.5}))
    found = backend.call(service.get, service.Which(model="late", number=1)).metrics
    assert math.isnan(found["roc_auc"])
    assert found["rmse"] == 1.5


def test_two_models_number_their_versions_apart(backend: LocalBackend) -> None:
    backend.call(service.register, command())
    other = backend.call(service.register, command(model="early"))
    assert other.number == 1
    assert [m.model for m in backend.call(service.ls, service.ListModels()).models] == [
        "early",
        "late",
    ]


def test_concurrent_registrations_leave_no_gap_and_no_duplicate(
    backend: LocalBackend,
) -> None:
    with ThreadPoolExecutor(4) as pool:
        cmds = [command(f"run_{i % 8}") for i in range(16)]
        made = list(pool.map(lambda cmd: backend.call(service.register, cmd), cmds))
    assert {(v.run_id, v.number) for v in made} == {(v.run_id, v.number) for v in made[:8]}
    assert sorted({v.number for v in made}) == list(range(1, 9))


def test_an_alias_moves_and_its_history_is_the_event_stream(backend: LocalBackend) -> None:
    for i in range(2):
        backend.call(service.register, command(f"run_{i}"))
    alias(backend, "live", 1, "first version")
    alias(backend, "live", 2, "promoted")
    alias(backend, "live", 2, "again")
    shown = backend.call(service.show, service.ShowModel(model="late"))
    assert shown.aliases == {"live": 2}
    assert [v.number for v in shown.versions] == [2, 1]
    with backend.engine.begin() as conn:
        moves = events.since(conn, kind="model.alias_moved")
    assert [(e.subject, e.detail["was"], e.detail["reason"], e.actor) for e in moves] == [
        ("version:late/1", None, "first version", "ada"),
        ("version:late/2", 1, "promoted", "ada"),
    ]


def test_an_alias_cannot_name_a_version_that_is_not_there(backend: LocalBackend) -> None:
    backend.call(service.register, command())
    with pytest.raises(NotFound, match="no version 9"):
        alias(backend, "live", 9)


def test_a_failed_gate_can_be_overridden_once_with_a_reason(backend: LocalBackend) -> None:
    backend.call(service.register, command(gate=FAILED))
    with pytest.raises(Invalid, match="needs a reason"):
        backend.call(service.override, service.OverrideGate(model="late", number=1, reason=" "))
    cmd = service.OverrideGate(model="late", number=1, reason="demonstration")
    backend.call(service.override, cmd)
    again = service.OverrideGate(model="late", number=1, reason="another")
    version = backend.call(service.override, again)
    assert version.may_serve
    assert version.override is not None
    assert (version.override.actor, version.override.reason) == ("ada", "demonstration")
    with backend.engine.begin() as conn:
        (event,) = events.since(conn, kind="model.overridden")
    assert event.detail == {"reason": "demonstration", "failing": ["objective"]}


def test_a_gate_that_passed_cannot_be_overridden(backend: LocalBackend) -> None:
    backend.call(service.register, command(gate=PASSED))
    cmd = service.OverrideGate(model="late", number=1, reason="why not")
    with pytest.raises(Conflict, match="nothing to override"):
        backend.call(service.override, cmd)


def test_a_version_without_a_gate_may_not_serve(backend: LocalBackend) -> None:
    assert not backend.call(service.register, command()).may_serve


@pytest.mark.parametrize("name", ["", "a/b", " a"])
def test_a_name_that_would_break_references_is_refused(backend: LocalBackend, name: str) -> None:
    with pytest.raises(Invalid, match="no model name"):
        backend.call(service.register, command(model=name))


def test_an_unknown_model_is_not_found(backend: LocalBackend) -> None:
    with pytest.raises(NotFound, match="no model 'late'"):
        backend.call(service.show, service.ShowModel(model="late"))


def test_a_row_leads_to_the_versions_trained_on_it(backend: LocalBackend) -> None:
    objects = open_store(backend.settings)
    sets = [objects.put(rowset.encode(ids)) for ids in (["a", "b"], ["b", "c"])]
    for i, address in enumerate([*sets, None]):
        backend.call(service.register, command(f"run_{i}", rows=address))

    def numbers(row: str) -> tuple[list[int], list[int]]:
        found = backend.call(service.trained_on, service.TrainedOn(row=row))
        return [w.number for w in found.versions], [w.number for w in found.incomplete]

    assert numbers("b") == ([2, 1], [3])
    assert numbers("c") == ([2], [3])
    assert numbers("z") == ([], [3])
