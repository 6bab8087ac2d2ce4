"""Runs of a store from before tracking had columns are all there after the upgrade."""

import math
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import setpoint
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.engine import connect
from setpoint.db.local import open_local
from setpoint.runs import service

AT = 1_760_000_000_000_000


@pytest.fixture
def database_url(blank_url: str) -> str:
    """Nothing is there before it is migrated."""
    return blank_url


def write_old(settings: Settings) -> None:
    """Make a store as the first version did, with one run in it."""
    engine = connect(settings.database_url)
    config = Config()
    config.set_main_option("script_location", str(Path(setpoint.__path__[0]) / "db" / "migrations"))
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        for number, name in enumerate(("run_old", "run_older")):
            conn.execute(
                text(
                    "INSERT INTO runs "
                    "VALUES (:id, 'late', 'finished', :at, :at, 'ada', :c, NULL, '')"
                ),
                {"id": name, "at": AT - number, "c": '{"commit":"abc"}'},
            )
        carried = {"leaves": 31, "rate": 0.5, "deep": True, "note": "n" * 100, "none": None}
        rows = [("param", name, value) for name, value in carried.items()]
        rows += [("tag", "why", "drift"), ("input", "flights", 2), ("artifact", "a.bin", "b3:0")]
        for kind, name, value in rows:
            conn.execute(
                text("INSERT INTO run_values VALUES ('run_old', :kind, :name, :value)"),
                {"kind": kind, "name": name, "value": msgspec.json.encode(value).decode()},
            )
        for step, value in enumerate((0.5, None, math.inf, 0.25)):
            conn.execute(
                text("INSERT INTO run_points VALUES ('run_old', 'loss', :step, :value, :at)"),
                {"step": step, "value": value, "at": AT + step},
            )
    engine.dispose()


def test_a_store_of_the_first_version_keeps_its_runs(
    settings: Settings, clock: ManualClock
) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    write_old(settings)
    backend = open_local(settings, clock)
    run = backend.call(service.show, service.ShowRun(run="run_old"))
    assert (run.experiment, run.status, run.actor) == ("late", "finished", "ada")
    assert run.code is not None
    assert run.code.commit == "abc"
    assert run.params == {"leaves": 31, "rate": 0.5, "deep": True, "note": "n" * 100, "none": None}
    assert (run.tags, run.inputs, run.metrics) == ({"why": "drift"}, {"flights": 2}, {"loss": 0.25})
    assert run.artifacts["a.bin"].address == "b3:0"
    curve = backend.call(service.points, service.Curve(run=run.id, metric="loss")).points
    assert str([point.value for point in curve]) == "[0.5, nan, inf, 0.25]"
    found = backend.call(service.search, service.SearchRuns(filter="params.leaves > 30"))
    assert [one.id for one in found.runs] == ["run_old"]
    listed = backend.call(service.ls, service.ListRuns()).runs
    assert [one.id for one in listed] == ["run_old", "run_older"]
    new = backend.call(service.start, service.Start(experiment="new", inputs={"flights": 3}))
    assert new.experiment_id == 2
    backend.engine.dispose()
