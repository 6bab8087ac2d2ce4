"""The flights project: its data are clean, its features never see the future."""

import sys
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from setpoint.control.project import active, function, load
from setpoint.control.sources import features, table
from setpoint.data import checks, contract
from setpoint.data.features import build
from setpoint.demo.flights_data import END, Replay

PROJECT = Path(str(files("setpoint.demo"))) / "project"
MARCH = datetime(2013, 3, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    project = load(PROJECT)
    spec = project.specs[0]
    return {name: table(project, spec, name, END).collect() for name in spec.data.source}


@pytest.fixture(scope="module")
def code() -> ModuleType:
    project = load(PROJECT)
    source = function(project, "flights:flights")
    with active(project):
        return sys.modules[source.__module__]


def test_the_whole_year_is_there_under_unique_ids(tables: dict[str, pl.DataFrame]) -> None:
    flights = tables["flights"]
    assert flights.height == 336_776
    assert flights["flight_id"].n_unique() == flights.height
    assert flights["late"].null_count() == 9_430
    never = flights.filter(pl.col("late").is_null())
    assert (never["known_at"] == never["scheduled_departure"] + timedelta(days=1)).all()


def test_arrivals_follow_departures_in_every_time_zone(
    tables: dict[str, pl.DataFrame],
) -> None:
    arrived = tables["flights"].drop_nulls("late")
    minutes = (arrived["known_at"] - arrived["scheduled_departure"]).dt.total_minutes()
    assert minutes.min() > 15  # type: ignore[operator]
    block = (arrived["scheduled_arrival"] - arrived["scheduled_departure"]).dt.total_minutes()
    assert (block.min(), block.max()) == (50, 700)  # Boston or Philadelphia; Honolulu
    # New York to Honolulu in January: 9:00 EST to 15:30 HST is 11.5 hours.
    honolulu = arrived.filter(pl.col("flight_id") == "20130101T1400-HA-51-JFK").row(0, named=True)
    assert honolulu["scheduled_arrival"] == datetime(2013, 1, 2, 1, 30, tzinfo=UTC)


def test_late_shares_by_month_are_those_of_the_year(
    tables: dict[str, pl.DataFrame],
) -> None:
    month = pl.col("scheduled_departure").dt.convert_time_zone("America/New_York").dt.month()
    shares = tables["flights"].group_by(month).agg(pl.col("late").cast(float).mean())
    late = shares["late"].to_numpy()
    assert 0.12 < late.min() < 0.14
    assert 0.32 < late.max() < 0.35


def test_a_source_gives_only_what_is_known_by_then(tables: dict[str, pl.DataFrame]) -> None:
    project = load(PROJECT)
    for name in ("flights", "weather"):
        early = table(project, project.specs[0], name, MARCH).collect()
        assert early["known_at"].max() <= MARCH  # type: ignore[operator]
        assert early.equals(tables[name].filter(pl.col("known_at") <= MARCH))


def test_the_contract_finds_the_two_rows_that_cannot_be_true(
    tables: dict[str, pl.DataFrame],
) -> None:
    failed: dict[str, tuple[int, str]] = {}
    for name, frame in tables.items():
        terms = contract.load(PROJECT / "contracts/flights.odcs.yaml", name)
        report = checks.check(frame.lazy(), terms)
        failed |= {c.name: (c.failing, c.severity) for c in report.checks if not c.passed}
        assert report.undeclared == []
    assert failed == {
        "tail number is known": (2_512, "warning"),
        "distance minimum 50": (1, "error"),
        "wind_speed maximum 150": (1, "error"),
        "pressure is measured": (2_729, "warning"),
    }
    short = tables["flights"].filter(pl.col("distance") < 50)
    assert short.select("origin", "dest", "distance", "late").rows() == [("EWR", "LGA", 17, None)]


def test_features_are_the_same_without_the_future(tables: dict[str, pl.DataFrame]) -> None:
    project = load(PROJECT)
    spec = project.specs[0]
    rows = tables["flights"].filter(
        pl.col("scheduled_departure").is_between(MARCH, MARCH + timedelta(days=1))
    )
    everything = features(project, spec, rows, tables)
    for hours in (0, 5, 13, 24):
        now = MARCH + timedelta(hours=hours)
        known = {name: t.filter(pl.col("known_at") <= now) for name, t in tables.items()}
        asked = rows["scheduled_departure"] <= now
        then = features(project, spec, rows.filter(asked), known)
        assert then.equals(everything.filter(asked))


def test_features_are_numbers_that_32_bit_floats_hold(
    tables: dict[str, pl.DataFrame],
) -> None:
    project = load(PROJECT)
    built = features(project, project.specs[0], tables["flights"], tables)
    assert set(built.dtypes) == {pl.Float32}
    assert not any(built[c].is_nan().any() or built[c].is_infinite().any() for c in built.columns)
    grid = built.select(pl.all().drop_nulls().mul(256).mod(1).abs().max())
    assert max(grid.row(0)) == 0


def test_the_model_learns_and_the_seed_fixes_it(
    tables: dict[str, pl.DataFrame], code: ModuleType
) -> None:
    project = load(PROJECT)
    rows = tables["flights"].filter(pl.col("known_at") <= MARCH).drop_nulls("late").tail(9000)
    built = features(project, project.specs[0], rows, tables)
    late = rows["late"].cast(float).to_numpy()
    scores = [
        code.train(built, late, seed).predict_proba(built.to_numpy())[:, 1] for seed in (7, 7)
    ]
    assert np.array_equal(*scores)
    assert scores[0][late == 1].mean() > scores[0][late == 0].mean() + 0.1
    assert code.baseline(built, late, 7).predict_proba(built.to_numpy()).shape == (9000, 2)


def test_cost_counts_needless_warnings_and_missed_delays(code: ModuleType) -> None:
    costs = code.cost(np.array([0, 0, 1, 1]), np.array([0.1, 0.9, 0.1, 0.9]))
    assert costs.tolist() == [0, 1, 4, 0]


@pytest.fixture(scope="module")
def replay(tables: dict[str, pl.DataFrame]) -> Replay:
    project = load(PROJECT)
    views = [function(project, view) for view in project.specs[0].features]
    return Replay(tables, views, MARCH, MARCH + timedelta(days=7))


def test_a_replay_asks_every_flight_once_in_order_of_time(
    replay: Replay, tables: dict[str, pl.DataFrame]
) -> None:
    hours = list(replay.hours())
    ids = [name for hour in hours for name in hour.ids]
    times = np.concatenate([hour.times for hour in hours])
    assert len(ids) == len(set(ids)) == len(replay)
    assert (np.diff(times) >= 0).all()
    assert all(
        hour.at <= at < hour.at + timedelta(hours=1)
        for hour, at in zip(
            hours,
            (datetime.fromtimestamp(h.times[-1] / 1e6, UTC) for h in hours),
            strict=True,
        )
    )
    rows = tables["flights"].filter(pl.col("flight_id").is_in(hours[3].ids))
    views = [function(load(PROJECT), view) for view in load(PROJECT).specs[0].features]
    built = build(rows, views, tables, "scheduled_departure").cast(pl.Float64)
    assert np.array_equal(hours[3].features, built.fill_null(np.nan).to_numpy(), equal_nan=True)


def test_a_replay_goes_on_at_any_hour(replay: Replay) -> None:
    hours = list(replay.hours())
    later = list(replay.hours(hours[5].at))
    assert [hour.at for hour in later] == [hour.at for hour in hours[5:]]


def test_labels_come_once_and_in_the_order_they_become_known(replay: Replay) -> None:
    step = timedelta(hours=7)
    at, found = MARCH, []
    while at < END:
        part = replay.labels(at, at + step)
        assert all(at < datetime.fromtimestamp(k / 1e6, UTC) <= at + step for k in part.known_at)
        found += part.ids
        at += step
    assert len(found) == len(set(found)) == replay.labelled
    assert replay.labelled == int(np.isfinite(replay.truth()).sum())
    assert 0.9 < replay.labelled / len(replay) < 1
    assert set(replay.months().tolist()) == {3}
