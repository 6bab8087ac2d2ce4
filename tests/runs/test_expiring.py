"""Retention of runs by age: what its rule lets go, what stays for ever, what that frees."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, NotFound
from setpoint.events import store as events
from setpoint.models.registry import commands as registry
from setpoint.models.registry import service as models
from setpoint.runs import service
from setpoint.runs.commands import Expire, Expired, KeepRuns, ListRules
from setpoint.runs.expiring import expire, keep, ls
from setpoint.runs.rules import without_parents
from setpoint.runs.store import expiring as store

DAY = timedelta(days=1)


def run(backend: LocalBackend, name: str, *, experiment: str = "late", **more: object) -> None:
    start = service.Start(id=name, experiment=experiment, **more)  # type: ignore[arg-type]
    backend.call(service.start, start)
    backend.call(service.finish, service.Finish(run=name))


def rule(backend: LocalBackend, days: int | None, experiment: str | None = None) -> None:
    cmd = KeepRuns(experiment=experiment, days=days, reason="the disk")
    backend.call(keep, cmd)


def alive(backend: LocalBackend) -> set[str]:
    found = backend.call(service.search, service.SearchRuns()).runs
    return {each.id for each in found}


def test_nothing_goes_without_a_rule(backend: LocalBackend, clock: ManualClock) -> None:
    run(backend, "old")
    clock.advance(1_000 * DAY)
    assert backend.call(expire, Expire()) == Expired(runs=0, experiments={})
    rule(backend, None)
    assert backend.call(expire, Expire()).runs == 0


def test_old_runs_go_but_for_those_that_something_keeps(
    backend: LocalBackend, clock: ManualClock
) -> None:
    run(backend, "old")
    run(backend, "tagged", tags={"keep": ""})
    run(backend, "of-a-version")
    backend.call(models.create, registry.CreateModel(model="m"))
    version = registry.AddVersion(model="m", source="s3://b/m", run_id="of-a-version")
    backend.call(models.add_version, version)
    backend.call(service.start, service.Start(id="goes-on", experiment="late"))
    clock.advance(10 * DAY)
    run(backend, "young")
    rule(backend, 10)
    told = backend.call(expire, Expire(dry=True))
    assert alive(backend) == {"old", "tagged", "of-a-version", "goes-on", "young"}
    assert backend.call(expire, Expire()) == told == Expired(runs=1, experiments={"late": 1})
    assert alive(backend) == {"tagged", "of-a-version", "goes-on", "young"}
    backend.call(service.restore, service.OneRun(run="old"))
    assert "old" in alive(backend)
    with backend.reading() as conn:
        (event,) = events.latest(conn, kind="runs.expired")
    assert event.detail == {"runs": 1, "experiments": {"late": 1}}


def test_an_experiment_s_own_rule_counts_instead_of_the_one_for_all(
    backend: LocalBackend, clock: ManualClock
) -> None:
    for experiment in ("brief", "paper", "other"):
        run(backend, experiment, experiment=experiment)
    rule(backend, 30)
    rule(backend, 5, "brief")
    rule(backend, None, "paper")
    clock.advance(10 * DAY)
    assert backend.call(expire, Expire()).experiments == {"brief": 1}
    clock.advance(100 * DAY)
    assert backend.call(expire, Expire()).experiments == {"other": 1}
    assert alive(backend) == {"paper"}
    found = backend.call(ls, ListRules()).rules
    assert {each.experiment: each.days for each in found} == {None: 30, "brief": 5, "paper": None}
    assert found[0].experiment is None
    backend.call(keep, KeepRuns(experiment="paper", drop=True, reason="published"))
    assert backend.call(expire, Expire()).experiments == {"paper": 1}


def test_a_run_stays_as_long_as_one_that_is_nested_in_it(
    backend: LocalBackend, clock: ManualClock
) -> None:
    run(backend, "parent")
    run(backend, "child", parent="parent", tags={"keep": "yes"})
    run(backend, "sibling", parent="parent")
    rule(backend, 1)
    clock.advance(2 * DAY)
    backend.call(expire, Expire())
    assert alive(backend) == {"parent", "child"}


def test_more_than_a_batch_goes_in_several(backend: LocalBackend, clock: ManualClock) -> None:
    for i in range(3):
        run(backend, f"r{i}")
    rule(backend, 1)
    clock.advance(2 * DAY)
    assert backend.call(expire, Expire(dry=True, at_most=2)).runs == 3
    first = backend.call(expire, Expire(at_most=2))
    assert (first.runs, first.more) == (2, True)
    assert backend.call(expire, Expire()) == Expired(runs=1, experiments={"late": 1})


def test_only_runs_under_a_rule_are_freed_by_it(backend: LocalBackend, clock: ManualClock) -> None:
    for experiment in ("brief", "other"):
        run(backend, experiment, experiment=experiment)
        backend.call(service.delete, service.OneRun(run=experiment))
    rule(backend, 5, "brief")
    with backend.reading() as conn:
        assert store.expired(conn, clock.now()) == ["brief"]
        assert store.expired(conn, clock.now() - DAY) == []
    rule(backend, 5)
    with backend.reading() as conn:
        assert store.expired(conn, clock.now()) == ["brief", "other"]


def test_a_rule_needs_a_reason_a_day_and_an_experiment_that_is_there(backend: LocalBackend) -> None:
    for cmd in (KeepRuns(days=1, reason=" "), KeepRuns(days=0, reason="x")):
        with pytest.raises(Invalid):
            backend.call(keep, cmd)
    with pytest.raises(NotFound):
        rule(backend, 1, "nowhere")


@given(
    st.dictionaries(st.integers(0, 8), st.integers(0, 8)),
    st.sets(st.integers(0, 8)),
)
def test_whoever_is_above_a_run_that_stays_stays(parents: dict[int, int], old: set[int]) -> None:
    tree = {str(child): str(parent) for child, parent in parents.items() if parent < child}
    may = {str(each): tree.get(str(each)) for each in old}
    going = without_parents(may, {c: p for c, p in tree.items() if p in may})
    for child, parent in tree.items():
        assert parent not in going or child in going
    every = {run: p for run, p in may.items() if run not in tree.values()}
    assert set(every) <= going, "a run in which none is nested goes"
