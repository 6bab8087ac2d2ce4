"""Deleting, restoring and collecting: what goes, what stays, and how many bytes it frees."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from setpoint.artifacts.store import open_store
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, NotFound
from setpoint.runs import service, tables
from setpoint.runs.entities import Artifact, Lifecycle, Point, Run


def made(backend: LocalBackend, files: dict[str, bytes], experiment: str = "late") -> Run:
    objects = open_store(backend.settings)
    run = backend.call(
        service.start, service.Start(experiment=experiment, params={"a": 1}, inputs={"flights": 1})
    )
    left = {
        path: Artifact(address=objects.put(data), size=len(data)) for path, data in files.items()
    }
    points = [Point(name="m", value=i, step=i) for i in range(100)]
    backend.call(service.log, service.Log(run=run.id, artifacts=left, points=points))
    return backend.call(service.finish, service.Finish(run=run.id))


def collect(backend: LocalBackend, **values: object) -> service.Collected:
    return backend.call(service.collect, service.Collect(**values))  # type: ignore[arg-type]


def test_what_only_deleted_runs_name_is_freed_and_counted(backend: LocalBackend) -> None:
    gone = made(backend, {"own.bin": b"o" * 1_000, "shared.bin": b"s" * 500})
    kept = made(backend, {"shared.bin": b"s" * 500})
    backend.call(service.delete, service.OneRun(run=gone.id))
    told = collect(backend, dry=True)
    assert backend.call(service.show, service.ShowRun(run=gone.id)).artifacts
    freed = collect(backend)
    assert freed == told
    assert (freed.runs, freed.points, freed.objects) == (1, 100, 1)
    assert 1_000 < freed.bytes < 4_000
    objects = open_store(backend.settings)
    assert [objects.has(left.address) for left in gone.artifacts.values()] == [False, True]
    assert objects.get(kept.artifacts["shared.bin"].address) == b"s" * 500
    with pytest.raises(NotFound):
        backend.call(service.show, service.ShowRun(run=gone.id))
    with backend.reading() as conn:
        for table in (tables.run_values, tables.run_metrics, tables.run_cards, tables.run_datasets):
            assert conn.execute(select(func.count()).select_from(table)).scalar_one() == 1
    assert collect(backend).runs == 0


def test_a_deleted_run_is_kept_for_as_long_as_is_asked(
    backend: LocalBackend, clock: ManualClock
) -> None:
    run = made(backend, {})
    backend.call(service.delete, service.OneRun(run=run.id))
    clock.advance(timedelta(hours=1))
    assert collect(backend, older_than=7_200).runs == 0
    assert backend.call(service.restore, service.OneRun(run=run.id)).lifecycle is Lifecycle.ACTIVE
    backend.call(service.delete, service.OneRun(run=run.id))
    clock.advance(timedelta(hours=3))
    assert collect(backend, older_than=7_200, runs=["another"]).runs == 0
    assert collect(backend, older_than=7_200, runs=[run.id]).runs == 1


def test_an_experiment_goes_and_comes_back_with_its_runs(
    backend: LocalBackend, clock: ManualClock
) -> None:
    kept, lost = made(backend, {}, "a"), made(backend, {}, "a")
    backend.call(service.delete, service.OneRun(run=lost.id))
    clock.advance(timedelta(seconds=1))
    experiment = backend.call(service.find_experiment, service.FindExperiment(name="a"))
    one = service.OneExperiment(id=experiment.id)
    backend.call(service.delete_experiment, one)
    assert not backend.call(service.search, service.SearchRuns(experiments=["a"])).runs
    with pytest.raises(Conflict, match="is deleted"):
        backend.call(service.start, service.Start(experiment="a"))
    with pytest.raises(Conflict, match="exists already"):
        backend.call(service.create_experiment, service.CreateExperiment(name="a"))
    names = [
        e.name
        for e in backend.call(service.search_experiments, service.SearchExperiments()).experiments
    ]
    assert names == ["Default"]
    clock.advance(timedelta(seconds=1))
    backend.call(service.restore_experiment, one)
    found = backend.call(service.search, service.SearchRuns(experiments=["a"])).runs
    assert [run.id for run in found] == [kept.id]
    backend.call(service.delete_experiment, one)
    freed = collect(backend)
    assert (freed.runs, freed.experiments) == (2, 1)
    with pytest.raises(NotFound):
        backend.call(service.find_experiment, service.FindExperiment(name="a"))


def test_experiments_are_found_by_name_tag_and_page(
    backend: LocalBackend, clock: ManualClock
) -> None:
    for i in range(7):
        clock.advance(timedelta(seconds=1))
        cmd = service.CreateExperiment(name=f"exp {i}", tags={"team": "ops" if i % 2 else "ml"})
        number = backend.call(service.create_experiment, cmd).id
        change = service.UpdateExperiment(
            id=number, tags={"n": str(i)}, untag=["team"] if i == 3 else []
        )
        backend.call(service.update_experiment, change)

    def found(**asked: object) -> list[str]:
        names: list[str] = []
        token = ""
        while True:
            cmd = service.SearchExperiments(limit=2, token=token, **asked)  # type: ignore[arg-type]
            answer = backend.call(service.search_experiments, cmd)
            names += [one.name for one in answer.experiments]
            token = answer.next
            if not token:
                return names

    assert found(filter="tags.team = 'ops'") == ["exp 5", "exp 1"]
    assert found(filter="name LIKE 'exp %'", order=["name"]) == [f"exp {i}" for i in range(7)]
    assert found(order=["tags.n DESC"])[:2] == ["exp 6", "exp 5"]
    assert found(filter="experiment_id = 0") == ["Default"]
