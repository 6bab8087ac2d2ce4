"""What every import promises, whatever it reads: all of it, once, also after a kill."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from setpoint.config import settings
from setpoint.core.clock import from_micros
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Invalid, NotFound
from setpoint.models.registry import aliases
from setpoint.models.registry import service as registry
from setpoint.models.registry.commands import (
    AddVersion,
    CreateModel,
    DropAlias,
    OneModel,
    OneVersion,
)
from setpoint.models.registry.entities import Entry
from setpoint.runs import service
from setpoint.runs.columns import Columns
from setpoint.runs.commands import OneRun, Start
from setpoint.runs.entities import Lifecycle, Status
from setpoint.transfer.entities import (
    Content,
    Left,
    SourceFile,
    SourceModel,
    SourceRun,
    SourceVersion,
)
from setpoint.transfer.files import read_in_pieces
from setpoint.transfer.importer import FROM, WHOLE, bring
from setpoint.transfer.mlflow import Login
from setpoint.transfer.sources import KINDS, open_source

from .conftest import Here


class Made:
    """A source made of what is given; can break off after some files."""

    kind = "made"
    where = "nowhere"

    def __init__(self, *runs: SourceRun, breaks: bool = False, size: int = 3) -> None:
        self._runs = runs
        self._breaks = breaks
        self._size = size
        self.read = 0
        self.closed = False

    def runs(self) -> tuple[SourceRun, ...]:
        return self._runs

    def experiments(self) -> dict[str, dict[str, str]]:
        return {"e": {"team": "ops"}}

    def close(self) -> None:
        self.closed = True

    def left(self) -> list[Left]:
        return [Left(run="", what="a model", why="no run")]

    def content(self, run: SourceRun) -> Content:
        self.read += 1
        return Content(series=self._series(), files=self._files(run))

    def _series(self) -> Iterator[tuple[str, Columns]]:
        for name in ("loss", "acc"):
            steps = np.arange(self._size)
            yield name, Columns(steps, steps * 1_000_000, steps / 2)

    def _files(self, run: SourceRun) -> Iterator[SourceFile]:
        yield SourceFile(path="a/b.txt", chunks=lambda: iter([b"one", run.id.encode()]))
        if self._breaks:
            raise ConnectionResetError("the power went")
        yield SourceFile(path="gone", chunks=partial(read_in_pieces, Path("/no/such/file")))


def made(run: str, **more: Any) -> SourceRun:
    fields: dict[str, Any] = {"experiment": "e", "name": run, "status": Status.FINISHED}
    fields |= {"started_at": from_micros(5), "ended_at": from_micros(9_000_000)}
    return SourceRun(id=run, **(fields | more))


def test_a_run_arrives_whole(here: Here) -> None:
    source = Made(made("r1", params={"a": 1, "b": "x"}, tags={"t": "v"}, actor="ann"))
    report = here.bring(source)
    run = here.runs()["r1"]
    assert (run.id, run.experiment, run.actor, run.status) == ("r1", "e", "ann", Status.FINISHED)
    assert (run.started_at, run.ended_at) == (from_micros(5), from_micros(9_000_000))
    assert run.params == {"a": 1, "b": "x"}
    assert run.tags["t"] == "v"
    assert here.points(run, "loss") == [(0, 0, 0.0), (1, 1_000_000, 0.5), (2, 2_000_000, 1.0)]
    assert here.files(run) == {"a/b.txt": b"oner1"}
    assert (report.brought, report.points, report.files, report.bytes) == (1, 6, 1, 5)
    assert {each.what for each in report.left} == {"a model", "gone"}


def test_a_second_import_brings_nothing_and_reads_no_content(here: Here) -> None:
    here.bring(Made(made("r1"), made("r2")))
    again = Made(made("r1"), made("r2"), made("r3"))
    report = here.bring(again)
    assert (report.known, report.brought, again.read) == (2, 1, 1)
    assert len(here.runs()) == 3


def test_an_import_that_broke_off_goes_on(here: Here) -> None:
    broken = Made(made("r1"), breaks=True)
    with pytest.raises(ConnectionResetError):
        here.bring(broken)
    assert broken.closed
    assert WHOLE not in here.runs()["r1"].tags
    report = here.bring(Made(made("r1")))
    assert report.brought == 1
    run = here.runs()["r1"]
    assert here.points(run, "acc")[-1] == (2, 2_000_000, 1.0)
    assert len(here.points(run, "acc")) == 3
    assert here.files(run) == {"a/b.txt": b"oner1"}


def version_at(number: int, source: str, **more: Any) -> SourceVersion:
    return SourceVersion(number=number, source=source, **({"files": lambda _: iter([])} | more))


class WithModels(Made):
    """A source with a registered model; its second version breaks off the first time."""

    def __init__(self, *runs: SourceRun, breaks: bool = False) -> None:
        super().__init__(*runs)
        self._broken = breaks

    def models(self) -> list[SourceModel]:
        own = version_at(2, "runs:/r1/m", run="r1", within="m", tags={"k": "v"})
        copied = version_at(5, "there:/5", run="r1", files=self._kept)
        versions = [own, copied, version_at(6, "s3://b/m")]
        aliases = {"champion": 5, "gone": 9}
        return [SourceModel(name="late", tags={"t": "1"}, aliases=aliases, versions=versions)]

    def _kept(self, _: list[Left]) -> Iterator[SourceFile]:
        yield SourceFile(path="MLmodel", chunks=lambda: iter([b"flavors"]))
        yield SourceFile(path="lost", chunks=partial(read_in_pieces, Path("/no/such/file")))
        if self._broken:
            raise ConnectionResetError("the power went")


def version(here: Here, number: int) -> Entry:
    return here.backend.call(registry.version, OneVersion(model="late", number=number))


def test_registered_models_come_with_their_versions_files_tags_and_aliases(here: Here) -> None:
    report = here.bring(WithModels(made("r1")))
    assert (report.models, report.versions, report.versions_known) == (1, 3, 0)
    own, copied, elsewhere = (version(here, number) for number in (2, 5, 6))
    assert (own.version.source, own.version.run_id, own.tags) == ("runs:/r1/m", "r1", {"k": "v"})
    assert copied.version.source == "runs:/r1/registered/late/5"
    assert here.files(here.runs()["r1"])["registered/late/5/MLmodel"] == b"flavors"
    assert (elsewhere.version.source, elsewhere.version.run_id) == ("s3://b/m", "")
    model = here.backend.call(registry.about, OneModel(model="late"))
    assert (model.aliases, model.tags["t"]) == ({"champion": 5}, "1")
    left = [each.what for each in report.left]
    assert left[2:] == ["lost", "model late: files of version 6", "model late: alias gone"]


def test_registered_models_are_brought_once_also_after_a_break(here: Here) -> None:
    with pytest.raises(ConnectionResetError):
        here.bring(WithModels(made("r1"), breaks=True))
    report = here.bring(WithModels(made("r1")))
    assert (report.versions, report.versions_known) == (2, 1)
    drop = DropAlias(model="late", alias="champion")
    here.backend.call(aliases.unalias, drop)
    again = here.bring(WithModels(made("r1")))
    assert (again.versions, again.versions_known) == (0, 3)
    model = here.backend.call(registry.about, OneModel(model="late"))
    assert (model.versions, model.aliases) == (6, {})  # what was decided here stays


def test_what_is_on_its_way_is_told(here: Here) -> None:
    told: list[tuple[int, int | None, str]] = []
    source = WithModels(made("r1"), made("r2"))
    bring(here.backend, here.store, source, told=lambda *said: told.append(said))
    assert told[:2] == [(0, 2, "r1"), (1, 2, "r2")]
    assert told[2:] == [(0, 3, "late/2"), (1, 3, "late/5"), (2, 3, "late/6")]


def test_versions_whose_numbers_are_taken_get_others_and_say_so(here: Here) -> None:
    here.backend.call(registry.create, CreateModel(model="late"))
    for _ in range(5):
        here.backend.call(registry.add_version, AddVersion(model="late", source="s3://ours"))
    report = here.bring(WithModels(made("r1")))
    assert version(here, 6).version.why == "imported from made: late/2"
    assert version(here, 7).aliases == ["champion"]
    assert "model late: number 2" in [each.what for each in report.left]


def test_a_parent_is_known_whatever_the_order(here: Here) -> None:
    here.bring(Made(made("child", parent="up"), made("up"), made("orphan", parent="nobody")))
    runs = here.runs()
    assert runs["child"].parent == "up"
    assert runs["orphan"].parent is None


def test_parents_in_a_circle_do_not_hang_it(here: Here) -> None:
    report = here.bring(Made(made("a", parent="b"), made("b", parent="a"), made("c", parent="c")))
    assert report.brought == 3


def test_a_deleted_run_arrives_deleted(here: Here) -> None:
    here.bring(Made(made("r1", deleted=True)))
    assert here.runs()["r1"].lifecycle is Lifecycle.DELETED
    assert here.bring(Made(made("r1", deleted=True))).known == 1


@pytest.mark.parametrize("name", ["with space", "a/b", "", "x" * 300, "é"])
def test_a_name_that_is_no_id_here_gets_another(here: Here, name: str) -> None:
    here.bring(Made(made(name, name="n")))
    run = here.runs()["n"]
    assert run.id.startswith("made-")
    assert here.bring(Made(made(name, name="n"))).known == 1


def test_an_id_that_is_taken_is_left_to_whom_it_belongs(here: Here, backend: LocalBackend) -> None:
    backend.call(service.start, Start(experiment="mine", id="r1", name="mine"))
    here.bring(Made(made("r1", name="theirs")))
    runs = here.runs()
    assert runs["mine"].id == "r1"
    assert FROM not in runs["mine"].tags
    assert runs["theirs"].id.startswith("made-")


def test_all_runs_go_where_they_are_told(here: Here) -> None:
    here.bring(Made(made("r1"), made("r2", experiment="other")), experiment="here")
    assert {run.experiment for run in here.runs().values()} == {"here"}


def test_tags_of_an_experiment_do_not_overwrite_ours(here: Here, backend: LocalBackend) -> None:
    from setpoint.runs.commands import CreateExperiment, FindExperiment  # noqa: PLC0415

    backend.call(service.create_experiment, CreateExperiment(name="e", tags={"team": "mine"}))
    here.bring(Made(made("r1")))
    found = backend.call(service.find_experiment, FindExperiment(name="e"))
    assert found.tags["team"] == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there_is_told(kind: str, tmp_path: Path) -> None:
    where = str(tmp_path / "nowhere")
    with pytest.raises(NotFound) as told:
        open_source(kind, where, login=Login(), python=sys.executable).runs()
    assert "nowhere" in f"{told.value.message} {told.value.where}"
    assert told.value.hint


def test_an_unknown_kind_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="comet") as told:
        open_source("comet", str(tmp_path), login=Login(), python="")
    assert "tensorboard" in told.value.hint


_KILLED = """
import os, signal, sys
from tests.transfer.test_importer import Made, made
from setpoint.artifacts.store import open_store
from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.transfer.files import read_in_pieces
from setpoint.transfer.importer import bring
backend = open_local(settings(sys.argv[1]))
calls = 0
class Dies:
    def call(self, op, cmd):
        global calls
        done = backend.call(op, cmd)
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return done
bring(Dies(), open_store(backend.settings), Made(made("r1", deleted=True), made("r2"), size=40_000))
"""


@pytest.mark.parametrize("after", [1, 4, 5, 6, 7, 10])
def test_killed_after_any_step_it_goes_on_to_the_same_end(tmp_path: Path, after: int) -> None:
    home = tmp_path / "store"
    command = [sys.executable, "-c", _KILLED, str(home), str(after)]
    root = Path(__file__).parents[2]
    died = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    assert died.returncode in {-signal.SIGKILL, 0}, died.stderr
    ours = open_local(settings(home))
    try:
        here = Here(ours)
        here.bring(Made(made("r1", deleted=True), made("r2"), size=40_000))
        runs = here.runs()
        assert runs["r1"].lifecycle is Lifecycle.DELETED
        assert runs["r2"].lifecycle is Lifecycle.ACTIVE
        assert all(WHOLE in run.tags for run in runs.values())
        assert len(here.points(runs["r2"], "loss")) == 40_000
        assert here.files(runs["r2"]) == {"a/b.txt": b"oner2"}
        ours.call(service.restore, OneRun(run="r1"))
        assert len(here.points(here.runs()["r1"], "acc")) == 40_000
    finally:
        ours.engine.dispose()
