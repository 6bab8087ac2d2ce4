"""Runs on their way out: nothing is lost, and what is there is not written twice."""

import math
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import NOON

from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.runs import service
from setpoint.runs.commands import Finish, Log, Start
from setpoint.runs.entities import Artifact, Point
from setpoint.transfer.entities import Sent
from setpoint.transfer.exporter import send
from setpoint.transfer.parquet import ParquetFolder

from .conftest import Here


def track(here: Here, name: str, experiment: str = "e") -> str:
    """Make a run with everything that can be exported."""
    backend: LocalBackend = here.backend
    address = here.store.put(b"content of " + name.encode())
    run = backend.call(
        service.start,
        Start(experiment=experiment, name=name, params={"a": 1, "b": "x"}, tags={"t": "ü/'\""}),
    ).id
    values = [0.5, math.nan, math.inf]
    points = [Point(name="loss", value=v, step=i, at=NOON) for i, v in enumerate(values)]
    artifacts = {"d/f.txt": Artifact(address=address, size=len(name) + 11)}
    backend.call(service.log, Log(run=run, points=points, artifacts=artifacts))
    backend.call(service.finish, Finish(run=run))
    return run


def export(here: Here, folder: Path, experiments: tuple[str, ...] = (), text: str = "") -> Sent:
    target = ParquetFolder(str(folder))
    return send(here.backend, here.store, target, experiments=list(experiments), filter=text)


def test_parquet_holds_runs_values_points_and_files(here: Here, tmp_path: Path) -> None:
    run = track(here, "one")
    sent = export(here, tmp_path / "out")
    assert (sent.runs, sent.points, sent.files, sent.bytes) == (1, 3, 1, 14)
    [about] = pl.read_parquet(tmp_path / "out/runs/*.parquet").to_dicts()
    assert (about["run"], about["name"], about["status"]) == (run, "one", "finished")
    values = pl.read_parquet(tmp_path / "out/values/*.parquet")
    assert {tuple(row) for row in values.select("kind", "name", "value").rows()} >= {
        ("param", "a", "1"),
        ("param", "b", "x"),
        ("tag", "t", "ü/'\""),
    }
    points = pl.read_parquet(tmp_path / "out/points/*.parquet").sort("step")
    assert points["step"].to_list() == [0, 1, 2]
    assert points["at"].to_list() == [datetime(2026, 1, 1, 12, tzinfo=UTC)] * 3
    assert points["value"].is_nan().to_list() == [False, True, False]
    assert (tmp_path / "out/files" / run / "d/f.txt").read_bytes() == b"content of one"


def test_a_second_export_adds_what_is_new(here: Here, tmp_path: Path) -> None:
    track(here, "one")
    export(here, tmp_path / "out")
    track(here, "two")
    sent = export(here, tmp_path / "out")
    assert (sent.runs, sent.known) == (1, 1)
    assert sorted(pl.read_parquet(tmp_path / "out/runs/*.parquet")["name"]) == ["one", "two"]


def test_only_the_runs_asked_for_are_written(here: Here, tmp_path: Path) -> None:
    track(here, "one")
    track(here, "two", experiment="other")
    assert export(here, tmp_path / "a", experiments=("other",)).runs == 1
    assert export(here, tmp_path / "b", text="attributes.run_name = 'one'").runs == 1
    assert export(here, tmp_path / "c", text="params.a = '7'").runs == 0


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(Invalid, match="is a file"):
        ParquetFolder(str(tmp_path / "out"))
