"""Searching runs: the same runs in the same order as by looking at every one, page by page."""

import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.runs import service
from setpoint.runs.entities import Dataset, Point, Run, View
from setpoint.runs.store import search

#: Each way a search is answered, whatever the numbers would suggest, as (FEW, SOME).
WAYS = {"walked": (-1, -1), "sorted": (0, 10_000), "named": (10_000, 10_000)}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Go through every way a search is answered."""

    def go() -> Iterator[str]:
        for way, (few, some) in WAYS.items():
            monkeypatch.setattr(search, "FEW", few)
            monkeypatch.setattr(search, "SOME", some)
            yield way

    return go()


@pytest.fixture
def runs(backend: LocalBackend, clock: ManualClock) -> list[Run]:
    """Runs with metrics, params and tags, some of them missing, NaN or no number."""
    rng = np.random.default_rng(7)
    made = []
    for i in range(30):
        clock.advance(timedelta(seconds=1))
        params: dict[str, Any] = {"leaves": int(rng.integers(1, 12)), "kind": f"k{i % 3}"}
        if i % 5 == 0:
            params = {"kind": "Ünder_line%", "long": "x" * 100 + str(i), "leaves": "auto"}
        tags = {"team": "ops"} if i % 4 else {"note b": "it's"}
        begin = service.Start(
            experiment="a" if i % 7 else "b", id=f"run_{i:02}", params=params, tags=tags
        )
        run = backend.call(service.start, begin)
        points = [Point(name="auc", value=round(float(rng.random()), 1))]
        if i % 6 == 0:
            points = [Point(name="auc", value=math.nan)]
        if i % 8 == 0:
            points = []
        points.append(Point(name="loss/val loss", value=float(i % 4)))
        read = [Dataset(name="flights", digest=f"d{i % 2}", context="train")] if i % 2 else []
        backend.call(service.log, service.Log(run=run.id, points=points, datasets=read))
        if i % 3:
            backend.call(service.finish, service.Finish(run=run.id))
        made.append(backend.call(service.show, service.ShowRun(run=run.id)))
    return made


def found(backend: LocalBackend, page: int = 7, **asked: Any) -> list[str]:
    """Return the ids of all pages."""
    ids: list[str] = []
    token = ""
    while True:
        cmd = service.SearchRuns(limit=page, token=token, **asked)
        answer = backend.call(service.search, cmd)
        ids += [run.id for run in answer.runs]
        token = answer.next
        if not token:
            return ids
        assert len(answer.runs) == page


FILTERS: dict[str, Callable[[Run], bool]] = {
    "": lambda _: True,
    "metrics.auc > 0.5": lambda run: run.metrics.get("auc", -1) > 0.5,
    "metrics.auc != 0.5": lambda run: (
        run.metrics.get("auc", math.nan) != 0.5 and not math.isnan(run.metrics.get("auc", math.nan))
    ),
    "metrics.`loss/val loss` <= 1 AND metrics.auc >= 0.2": lambda run: (
        run.metrics["loss/val loss"] <= 1 and run.metrics.get("auc", -1) >= 0.2
    ),
    "params.kind = 'k1'": lambda run: run.params["kind"] == "k1",
    "params.kind != 'k1' and attributes.status = 'FINISHED'": lambda run: (
        run.params["kind"] != "k1" and run.status == "finished"
    ),
    "params.leaves > 6": lambda run: (
        isinstance(run.params["leaves"], int) and run.params["leaves"] > 6
    ),
    "param.leaves IN ('3', 'auto')": lambda run: str(run.params["leaves"]) in {"3", "auto"},
    "params.leaves NOT IN ('3', 'auto')": lambda run: (
        str(run.params["leaves"]) not in {"3", "auto"}
    ),
    "params.kind LIKE '%er_line%'": lambda run: "er_line" in str(run.params["kind"]),
    "params.kind LIKE 'K%'": lambda _: False,
    "params.kind ILIKE 'üNDER%'": lambda run: str(run.params["kind"]).startswith("Ü"),
    "params.kind RLIKE '^k[12]$'": lambda run: run.params["kind"] in {"k1", "k2"},
    f"params.long = '{'x' * 100}5'": lambda run: run.id == "run_05",
    "params.long IS NULL": lambda run: "long" not in run.params,
    "tags.\"note b\" = 'it''s'": lambda run: "note b" in run.tags,
    "tags.team IS NOT NULL OR metrics.auc > 0.8": lambda run: (
        "team" in run.tags or run.metrics.get("auc", -1) > 0.8
    ),
    "NOT (tags.team = 'ops' AND metrics.auc > 0.3)": lambda run: (
        not ("team" in run.tags and run.metrics.get("auc", -1) > 0.3)
    ),
    "run_id IN ('run_03', 'run_04', 'nobody')": lambda run: run.id in {"run_03", "run_04"},
    "attributes.experiment = 'b'": lambda run: run.experiment == "b",
    "datasets.name = 'flights' AND dataset.digest = 'd1'": lambda run: bool(run.datasets),
    "datasets.context LIKE 'tr%'": lambda run: bool(run.datasets),
    "start_time > '2026-01-01T12:00:20Z'": lambda run: int(run.id[4:]) >= 20,
    "end_time IS NULL": lambda run: run.ended_at is None,
    "metrics.nowhere > 0": lambda _: False,
}


def test_a_filter_finds_the_runs_it_describes_and_no_others(
    backend: LocalBackend, runs: list[Run], ways: Iterator[str]
) -> None:
    for way in ways:
        for said, meets in FILTERS.items():
            expected = [run.id for run in reversed(runs) if meets(run)]
            assert found(backend, 11, filter=said) == expected, (way, said)
            by_metric = found(backend, 11, filter=said, order=["metrics.auc"])
            assert sorted(by_metric) == sorted(expected), (way, said)


def by(run: Run, name: str, *, down: bool) -> tuple[Any, ...]:
    """Return what orders a run: numbers, then NaN or texts, then nothing; the newest first."""
    kind, key = name.split(".")
    value: Any = (run.metrics if kind == "metrics" else run.params).get(key)
    newest = -int(run.id[4:])
    if value is None:
        return 2, 0, "", newest
    if isinstance(value, str):
        return 1, 0, [-ord(c) if down else ord(c) for c in value[:64]], newest
    if isinstance(value, float) and math.isnan(value):
        return 1, 0, [], newest
    return 0, -value if down else value, [], newest


def test_an_order_holds_over_pages_and_what_lacks_it_comes_last(
    backend: LocalBackend, runs: list[Run], ways: Iterator[str]
) -> None:
    for way in ways:
        for name in ("metrics.auc", "params.leaves", "params.kind", "params.nobody"):
            for down in (False, True):
                expected = sorted(runs, key=partial(by, name=name, down=down))
                order = [f"{name} {'DESC' if down else 'ASC'}"]
                for page in (1, 7, 30):
                    got = found(backend, page, order=order, filter="metrics.`loss/val loss` >= 0")
                    assert got == [run.id for run in expected], (way, name, down, page)


def test_the_second_of_an_order_decides_where_the_first_is_equal(
    backend: LocalBackend, runs: list[Run], ways: Iterator[str]
) -> None:
    expected = sorted(
        (run for run in runs if run.experiment == "a"),
        key=lambda run: (run.metrics["loss/val loss"], *by(run, "metrics.auc", down=True)),
    )
    asked = {"order": ["metrics.`loss/val loss` ASC", "metrics.auc DESC"], "experiments": ["a"]}
    for way in ways:
        assert found(backend, 5, **asked) == [run.id for run in expected], way


def test_deleted_runs_are_found_only_when_asked_for(
    backend: LocalBackend, runs: list[Run], ways: Iterator[str]
) -> None:
    backend.call(service.delete, service.OneRun(run="run_07"))
    for way in ways:
        assert "run_07" not in found(backend), way
        assert found(backend, view=View.DELETED) == ["run_07"], way
        assert len(found(backend, view=View.ALL)) == len(runs), way
    backend.call(service.restore, service.OneRun(run="run_07"))
    assert "run_07" in found(backend)


def test_a_token_of_another_search_is_refused(backend: LocalBackend, runs: list[Run]) -> None:
    first = backend.call(service.search, service.SearchRuns(limit=3))
    for wrong in ("nonsense", first.next):
        cmd = service.SearchRuns(limit=3, token=wrong, filter="metrics.auc > 0")
        with pytest.raises(Invalid, match="not one of this search"):
            backend.call(service.search, cmd)


def test_runs_written_meanwhile_move_no_page(
    backend: LocalBackend, runs: list[Run], clock: ManualClock
) -> None:
    first = backend.call(service.search, service.SearchRuns(limit=20))
    clock.advance(timedelta(seconds=1))
    backend.call(service.start, service.Start(experiment="a", id="newer"))
    rest = backend.call(service.search, service.SearchRuns(limit=40, token=first.next))
    assert [run.id for run in first.runs + rest.runs] == [run.id for run in reversed(runs)]


def test_a_card_says_the_same_as_the_tables(backend: LocalBackend, runs: list[Run]) -> None:
    listed = backend.call(service.search, service.SearchRuns(latest=True)).runs
    for run in listed:
        shown = backend.call(service.show, service.ShowRun(run=run.id))
        assert repr(run.latest) == repr(shown.latest)
        assert (run.params, run.tags, run.datasets) == (shown.params, shown.tags, shown.datasets)
    backend.call(service.log, service.Log(run="run_01", tags={"late": "yes"}))
    late = [Point(name="auc", value=0.99, step=9)]
    backend.call(service.log, service.Log(run="run_01", points=late, late=True))
    again = {run.id: run for run in backend.call(service.search, service.SearchRuns()).runs}
    assert again["run_01"].tags["late"] == "yes"
    assert again["run_01"].metrics["auc"] == 0.99


def test_names_complete_a_filter(backend: LocalBackend, runs: list[Run]) -> None:
    names = backend.call(service.names, service.MetricNames())
    assert names.metrics == ["auc", "loss/val loss"]
    assert names.params == ["kind", "leaves", "long"]
    assert names.tags == ["note b", "team"]
    part = backend.call(service.names, service.MetricNames(experiments=["b"], like="AU"))
    assert part.metrics == ["auc"]
