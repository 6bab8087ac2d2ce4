"""Runs: what is logged comes back, whoever logs it and whatever the numbers are."""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events import store as events
from setpoint.runs import service
from setpoint.runs.entities import Code, Point, Run, Status


def start(backend: LocalBackend, **values: object) -> Run:
    cmd = service.Start(**({"experiment": "late"} | values))  # type: ignore[arg-type]
    return backend.call(service.start, cmd)


def log(backend: LocalBackend, run: Run, **values: object) -> None:
    backend.call(service.log, service.Log(run=run.id, **values))  # type: ignore[arg-type]


def show(backend: LocalBackend, run: Run) -> Run:
    return backend.call(service.show, service.ShowRun(run=run.id))


def curve(backend: LocalBackend, run: Run, name: str, at_most: int = 2000) -> list[Point]:
    cmd = service.Curve(run=run.id, metric=name, at_most=at_most)
    return backend.call(service.points, cmd).points


def test_a_run_comes_back_with_everything_it_was_started_with(
    backend: LocalBackend,
) -> None:
    code = Code(commit="abc", dirty=True, diff="b3:1", snapshot="b3:2", files=3)
    run = start(
        backend,
        params={"leaves": 31, "rate": 0.1, "deep": True, "note": "ü", "none": None},
        tags={"why": "drift"},
        inputs={"flights": 2},
        code=code,
        environment="b3:3",
    )
    assert show(backend, run) == run
    assert run.actor == "ada"


def test_metrics_are_the_last_steps_values_and_nan_and_infinity_survive(
    backend: LocalBackend,
) -> None:
    run = start(backend)
    values = [0.5, math.nan, math.inf, -math.inf, 0.25]
    points = [Point(name="loss", value=v, step=i) for i, v in enumerate(values)]
    log(backend, run, points=[*reversed(points), Point(name="auc", value=math.nan)])
    found = curve(backend, run, "loss")
    assert [p.step for p in found] == [0, 1, 2, 3, 4]
    assert [str(p.value) for p in found] == [str(v) for v in values]
    metrics = show(backend, run).metrics
    assert metrics["loss"] == 0.25
    assert math.isnan(metrics["auc"])


def test_logging_a_step_again_replaces_it(backend: LocalBackend) -> None:
    run = start(backend)
    for value in (1.0, 2.0):
        log(backend, run, points=[Point(name="loss", value=value, step=7)])
    assert [p.value for p in curve(backend, run, "loss")] == [2.0]


def test_a_long_curve_is_thinned_and_keeps_its_ends(backend: LocalBackend) -> None:
    run = start(backend)
    log(backend, run, points=[Point(name="x", value=i, step=i) for i in range(12_345)])
    found = curve(backend, run, "x", at_most=100)
    assert len(found) <= 101
    assert (found[0].step, found[-1].step) == (0, 12_344)


def test_two_writers_of_one_run_lose_nothing(backend: LocalBackend) -> None:
    run = start(backend)

    def write(i: int) -> None:
        log(
            backend,
            run,
            params={f"p{i}": i},
            tags={f"t{i}": "x"},
            points=[Point(name="m", value=i, step=i)],
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(20)))
    found = show(backend, run)
    assert len(found.params) == len(found.tags) == 20
    assert len(curve(backend, run, "m")) == 20


def test_a_param_keeps_its_first_value(backend: LocalBackend) -> None:
    run = start(backend, params={"leaves": 31})
    log(backend, run, params={"leaves": 31})
    with pytest.raises(Conflict, match="is 31 already"):
        log(backend, run, params={"leaves": 63})


def test_a_finished_run_takes_tags_but_no_more_metrics(
    backend: LocalBackend, clock: ManualClock
) -> None:
    run = start(backend)
    clock.advance(timedelta(minutes=5))
    ended = backend.call(service.finish, service.Finish(run=run.id))
    assert ended.status is Status.FINISHED
    assert ended.ended_at == clock.now()
    assert backend.call(service.finish, service.Finish(run=run.id)) == ended
    log(backend, run, tags={"kept": "yes"})
    with pytest.raises(Conflict, match="has finished"):
        log(backend, run, points=[Point(name="m", value=1)])
    with pytest.raises(Conflict, match="finished already"):
        backend.call(service.finish, service.Finish(run=run.id, error="late"))


def test_a_failed_run_goes_on_under_its_id_and_the_events_say_so(
    backend: LocalBackend,
) -> None:
    run = start(backend, id="run_fixed")
    backend.call(service.finish, service.Finish(run=run.id, error="no disk"))
    assert show(backend, run).error == "no disk"
    again = start(backend, id="run_fixed")
    assert (again.status, again.error, again.ended_at) == (Status.RUNNING, "", None)
    assert start(backend, id="run_fixed") == again
    with backend.engine.begin() as conn:
        kinds = [e.kind for e in events.since(conn, subject="run:run_fixed")]
    assert kinds == ["run.started", "run.failed", "run.resumed"]


def test_the_list_is_newest_first_and_by_experiment(
    backend: LocalBackend, clock: ManualClock
) -> None:
    made = []
    for experiment in ("late", "early", "late"):
        made.append(start(backend, experiment=experiment).id)
        clock.advance(timedelta(seconds=1))
    every = backend.call(service.ls, service.ListRuns()).runs
    late = backend.call(service.ls, service.ListRuns(experiment="late", limit=1)).runs
    assert [r.id for r in every] == made[::-1]
    assert [r.id for r in late] == [made[2]]


def test_comparing_names_what_differs_and_only_that(backend: LocalBackend) -> None:
    same = {"params": {"seed": 7}, "inputs": {"flights": 1}, "environment": "b3:e"}
    one = start(backend, **same, tags={"by": "hand"}, code=Code(commit="a"))
    two = start(backend, **(same | {"params": {"seed": 8}}), code=Code(commit="b"))
    for run in (one, two):
        log(backend, run, points=[Point(name="auc", value=math.nan)])
    found = backend.call(service.compare, service.Compare(runs=[one.id, two.id]))
    assert [r.id for r in found.runs] == [one.id, two.id]
    assert [(d.kind, d.name, d.values) for d in found.differences] == [
        ("param", "seed", [7, 8]),
        ("tag", "by", ["hand", None]),
        ("code", "commit", ["a", "b"]),
    ]


def test_what_is_not_there_is_not_found(backend: LocalBackend) -> None:
    with pytest.raises(NotFound, match="no run 'run_x'"):
        backend.call(service.show, service.ShowRun(run="run_x"))
    with pytest.raises(Invalid, match="two runs"):
        backend.call(service.compare, service.Compare(runs=["run_x"]))
    with pytest.raises(Invalid, match="experiment"):
        start(backend, experiment=" ")
