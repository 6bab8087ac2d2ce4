"""What people name and send that nobody expected: it is kept as it was."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.load import clients

from setpoint.core.clock import to_micros
from setpoint.db.local import LocalBackend
from setpoint.runs import columns, service
from setpoint.runs.columns import Columns
from setpoint.runs.commands import Append, History, Log, MetricNames, SearchRuns, ShowRun, Start
from setpoint.runs.entities import Point, Run
from setpoint.runs.store.naming import plain

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEYS = clients.of(20_000, 1_000_000)

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(name=names, value=st.text(max_size=200))
@example(name="train/loss/é 🎉 'a' \"b\" `c` \\ % _", value="'; DROP TABLE runs; --")
@example(name="nul\0here", value="nul\0there")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_comes_back(name: str, value: str, backend: LocalBackend) -> None:
    cmd = Start(experiment="odd", name=name, params={name: value}, tags={name: value})
    run = backend.call(service.start, cmd).id
    backend.call(service.log, Log(run=run, points=[Point(name=name, value=2.5, step=1)]))
    part = columns.series(
        name, Columns(np.array([2]), np.array([to_micros(NOON)]), np.array([3.5]))
    )
    backend.call(service.append, Append(run=run, series=[part]))
    found = backend.call(service.show, ShowRun(run=run))
    assert found.params == found.tags == {plain(name): plain(value)}
    assert found.metrics == {plain(name): 3.5}
    assert len(backend.call(service.history, History(run=run, metric=name))) == 2


@pytest.mark.parametrize("name", ["a/b", "a b", "é🎉", "it's", 'say "x"', "metrics.loss", "AND"])
def test_an_odd_name_can_be_searched_for(name: str, backend: LocalBackend) -> None:
    run = backend.call(service.start, Start(experiment="odd", params={name: "x"})).id
    backend.call(service.log, Log(run=run, points=[Point(name=name, value=2.5)]))
    backend.call(service.start, Start(experiment="odd", params={name: "y"}))
    asked = SearchRuns(filter=f"metrics.`{name}` > 2 AND params.`{name}` = 'x'")
    assert [each.id for each in backend.call(service.search, asked).runs] == [run]


def test_a_text_of_ten_thousand_characters_is_kept_and_found(backend: LocalBackend) -> None:
    long = "é🎉x" * 3_333 + "!"
    run = backend.call(service.start, Start(experiment="odd", params={"p": long})).id
    other = backend.call(service.start, Start(experiment="odd", params={"p": long[:-1] + "?"})).id
    assert backend.call(service.show, ShowRun(run=run)).params == {"p": long}
    for text, wanted in ((long, run), (long[:-1] + "?", other)):
        found = backend.call(service.search, SearchRuns(filter=f"params.p = '{text}'")).runs
        assert [each.id for each in found] == [wanted]


@pytest.mark.load
def test_a_batch_of_very_many_keys_is_taken(backend: LocalBackend) -> None:
    run = backend.call(service.start, Start(experiment="odd")).id
    step, at = np.array([1]), np.array([to_micros(NOON)])
    series = [
        columns.series(f"key {n}", Columns(step, at, np.array([float(n)]))) for n in range(KEYS)
    ]
    assert backend.call(service.append, Append(run=run, series=series)).points == KEYS
    found = backend.call(service.show, ShowRun(run=run))
    assert found.metrics == {f"key {n}": float(n) for n in range(KEYS)}


def _after(run: Run, moments: list[datetime], backend: LocalBackend) -> list[int]:
    for step, at in enumerate(moments):
        backend.call(
            service.log,
            Log(run=run.id, points=[Point(name="loss", value=float(step), step=step, at=at)]),
        )
    kept = columns.arrays(backend.call(service.history, History(run=run.id, metric="loss")))
    return [int(step) for step in kept.steps]


def test_a_clients_clock_that_is_wrong_moves_no_point(backend: LocalBackend) -> None:
    """Steps order a curve; the times are kept as they were told."""
    run = backend.call(service.start, Start(experiment="odd", started_at=NOON + timedelta(days=9)))
    past, future = NOON - timedelta(days=20_000), NOON + timedelta(days=20_000)
    moments = [future, NOON, past, NOON - timedelta(hours=1)]
    assert _after(run, moments, backend) == [0, 1, 2, 3]
    found = backend.call(service.show, ShowRun(run=run.id)).latest["loss"]
    assert (found.value, found.at) == (3.0, moments[3])
    assert backend.call(service.finish, service.Finish(run=run.id)).status == "finished"
    assert "loss" in backend.call(service.names, MetricNames(experiments=["odd"])).metrics
