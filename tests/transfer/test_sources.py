"""What is read of each system, from stores as their own clients write them."""

import contextlib
import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid, NotFound
from setpoint.runs.entities import Lifecycle, Status
from setpoint.transfer.mlflow import Login, open_mlflow
from setpoint.transfer.neptune import Neptune
from setpoint.transfer.protobuf import Message
from setpoint.transfer.tensorboard import TensorBoard
from setpoint.transfer.wandb import Wandb

from . import made
from .conftest import Here

PICTURE = (b"1", b"1", b"\x89PNG")  #: width, height, bytes


def test_a_run_of_wandb(here: Here, tmp_path: Path) -> None:
    run = tmp_path / "wandb/offline-run-1-abc"
    made.wandb_log(
        run / "run-abc.wandb",
        made.begin("abc", lr=0.1, layers=[1, 2], opt={"name": "adam"}, _wandb={"v": 1}),
        *[made.history(i, 1.7e9 + i, loss=i / 2, nested__a=i, text=f"t{i}") for i in range(4)],
        made.history(4, 1.7e9 + 4, loss="NaN", up="Infinity"),
        made.history(5, 1.7e9 + 5, big=2**60, pic={"_type": "image-file", "path": "p.png"}),
        made.measured(1_700_000_001, cpu=20),
        made.field(3, made.items({"best": 0.5, "loss": 9})),
        made.field(10, made.message((1, "title"), (2, "text"))),
        made.exited(0),
    )  # fmt: skip
    (run / "files").mkdir()
    (run / "files/output.log").write_text("hello")
    report = here.bring(Wandb(str(tmp_path / "wandb")))
    found = here.runs()["a run"]
    assert (found.experiment, found.status, found.id) == ("p", Status.FINISHED, "p:abc")
    assert found.params == {"lr": 0.1, "layers": "[1, 2]", "opt.name": "adam"}
    assert {k: found.tags[k] for k in ("group", "notes", "x")} == {
        "group": "g",
        "notes": "note",
        "x": "",
    }
    assert here.points(found, "nested.a")[3] == (3, 1_700_000_003_000_000, 3.0)
    assert math.isnan(here.points(found, "loss")[4][2])
    assert here.points(found, "up") == [(4, 1_700_000_004_000_000, math.inf)]
    assert here.points(found, "best") == [(5, 1_700_000_005_000_000, 0.5)]
    assert here.points(found, "system/cpu") == [(0, 1_700_000_001_000_000, 20.0)]
    files = here.files(found)
    assert files["output.log"] == b"hello"
    assert b'"big": 1152921504606846976' in files["wandb/history.jsonl"]
    assert b'"text": "t3"' in files["wandb/history.jsonl"]
    assert b"title" in files["wandb/alerts.jsonl"]
    assert report.left == []


@pytest.mark.parametrize("cut", [40_000, 15, 1])
def test_a_log_of_wandb_that_was_cut_off_is_read_up_to_there(
    here: Here, tmp_path: Path, cut: int
) -> None:
    rows = [made.history(i, 1.7e9 + i, x=i, text="t" * 500) for i in range(400)]
    log = made.wandb_log(tmp_path / "run-abc.wandb", made.begin("abc"), *rows, made.exited(0))
    log.write_bytes(log.read_bytes()[:-cut])
    report = here.bring(Wandb(str(log)))
    run = here.runs()["a run"]
    assert run.status is Status.KILLED
    assert 0 < len(here.points(run, "x")) <= 400
    assert "cut off" in report.left[0].why


def test_a_resumed_run_of_wandb_is_one_run(here: Here, tmp_path: Path) -> None:
    for number, code in ((0, 1), (1, 0)):
        made.wandb_log(
            tmp_path / f"offline-run-{number}-abc/run-abc.wandb",
            made.begin("abc", n=number),
            made.history(number, 1.7e9 + number, x=float(number)),
            made.exited(code),
        )
    here.bring(Wandb(str(tmp_path)))
    [run] = here.runs().values()
    assert (run.status, run.params["n"]) == (Status.FINISHED, 1)
    assert [value for _, _, value in here.points(run, "x")] == [0.0, 1.0]


def test_a_file_that_is_no_log_is_left_with_the_reason(here: Here, tmp_path: Path) -> None:
    (tmp_path / "x.wandb").write_bytes(b"something else")
    report = here.bring(Wandb(str(tmp_path)))
    assert report.runs == 0
    assert "no log of W&B" in report.left[0].why


def test_event_files_of_tensorboard(here: Here, tmp_path: Path) -> None:
    made.events(
        tmp_path / "logs/train/events.out.tfevents.1.h",
        made.field(3, "brain.Event:2"),
        made.event(1.7e9, 0, made.scalar("loss", 1.0)),
        made.event(1.7e9 + 1, 1, made.scalar("loss", math.nan), made.scalar("acc", 0.5)),
    )
    made.events(
        tmp_path / "logs/eval/events.out.tfevents.2.h",
        made.event(1.7e9, 2, made.tensor("t", "scalars", (1, 1), (5, b"\0\0\x80?"))),
        made.event(1.7e9, 3, made.tensor("say", "text", (1, 7), (8, "words"))),
        made.event(1.7e9, 4, made.tensor("pics", "images", (1, 7), *[(8, x) for x in PICTURE])),
        made.event(1.7e9, 5, made.tensor("odd", "mesh", (1, 1), (4, bytes(12)))),
        made.message((1, 1.7e9), (4, b"graph")),
    )  # fmt: skip
    report = here.bring(TensorBoard(str(tmp_path / "logs")))
    runs = here.runs()
    assert {run.experiment for run in runs.values()} == {"logs"}
    assert [(s, at) for s, at, _ in here.points(runs["train"], "loss")] == [
        (0, 1_700_000_000_000_000),
        (1, 1_700_000_001_000_000),
    ]
    assert runs["train"].started_at == datetime.fromtimestamp(1.7e9, UTC)
    assert here.points(runs["eval"], "t") == [(2, 1_700_000_000_000_000, 1.0)]
    files = here.files(runs["eval"])
    assert files["images/pics/4.png"] == b"\x89PNG"
    assert b"words" in files["texts/say.txt"]
    assert {each.what for each in report.left} == {"odd", "the graph"}


def test_an_event_file_that_was_cut_off_is_read_up_to_there(here: Here, tmp_path: Path) -> None:
    values = [made.event(1.7e9, i, made.scalar("x", float(i))) for i in range(10)]
    file = made.events(tmp_path / "logs/events.out.tfevents.1", *values)
    file.write_bytes(file.read_bytes()[:-9])
    report = here.bring(TensorBoard(str(tmp_path / "logs")))
    assert len(here.points(here.runs()["logs"], "x")) == 9
    assert "cut off" in report.left[0].why


def test_two_folders_of_one_name_are_two_runs(here: Here, tmp_path: Path) -> None:
    for top in ("one", "two"):
        made.events(tmp_path / top / "train/tfevents", made.event(1.7e9, 0, made.scalar("x", 1.0)))
        here.bring(TensorBoard(str(tmp_path / top)))
    assert here.bring(TensorBoard(str(tmp_path / "one"))).known == 1


def test_a_folder_of_mlflow(here: Here, tmp_path: Path) -> None:
    report = here.bring(open_mlflow(str(made.mlruns(tmp_path / "mlruns")), Login()))
    runs = here.runs()
    parent, child, gone = runs["run a"], runs["run b"], runs["run c"]
    assert (parent.experiment, parent.actor, parent.id) == ("späte Flüge/1", "ann", "a" * 32)
    assert (parent.params, parent.tags["kind"]) == ({"leaves": "31"}, "sweep")
    loss = here.points(parent, "loss/val")
    assert [step for step, _, _ in loss] == [0, 1, 2]
    assert math.isnan(loss[1][2])
    assert math.isinf(loss[2][2])
    assert here.files(parent) == {"notes/hello.txt": b"hello"}
    assert child.parent == parent.id
    assert (gone.status, gone.lifecycle) == (Status.FAILED, Lifecycle.DELETED)
    assert {(each.what, each.run[:1]) for each in report.left} == {
        ("auc, line 2", "b"),
        ("artifacts", "b"),  # they are on a server, says its URI
        ("artifacts", "c"),
    }


def test_a_folder_without_runs_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no runs"):
        open_mlflow(str(tmp_path), Login()).runs()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all, but long enough to be looked at" * 9)
    with pytest.raises(Invalid, match="no store of MLflow"):
        open_mlflow(str(tmp_path / "x.db"), Login())


def neptune(folder: Path) -> Path:
    """Write what neptune-exporter writes of a run with a series of halves as steps."""
    at = datetime(2025, 1, 1, tzinfo=UTC)
    base: dict[str, Any] = {
        "project_id": "org/p",
        "run_id": "RUN-1",
        "timestamp": None,
        "step": None,
    }
    rows: list[dict[str, Any]] = [
        {"attribute_path": "sys/name", "attribute_type": "string", "string_value": "first"},
        {"attribute_path": "sys/creation_time", "attribute_type": "datetime", "datetime_value": at},
        {"attribute_path": "sys/tags", "attribute_type": "string_set", "string_set_value": ["t"]},
        {"attribute_path": "sys/failed", "attribute_type": "bool", "bool_value": True},
        {"attribute_path": "lr", "attribute_type": "float", "float_value": 0.1},
        {"attribute_path": "n", "attribute_type": "int", "int_value": 7},
        *[
            {"attribute_path": "m/loss", "attribute_type": "float_series", "float_value": value,
             "step": Decimal(step), "timestamp": at}
            for step, value in (("1.5", 2.0), ("0.5", 1.0), ("2", math.nan))
        ],
        {"attribute_path": "out", "attribute_type": "string_series", "string_value": "line",
         "step": Decimal(1), "timestamp": at},
        {"attribute_path": "model", "attribute_type": "file", "file_value": {"path": "p/m.bin"}},
        {"attribute_path": "evil", "attribute_type": "file", "file_value": {"path": "../../x"}},
        {"attribute_path": "strange", "attribute_type": "hologram"},
    ]  # fmt: skip
    columns: dict[str, Any] = {
        "project_id": pl.String, "run_id": pl.String, "attribute_path": pl.String,
        "attribute_type": pl.String, "step": pl.Decimal(18, 6),
        "timestamp": pl.Datetime("ms", "UTC"), "int_value": pl.Int64, "float_value": pl.Float64,
        "string_value": pl.String, "bool_value": pl.Boolean,
        "datetime_value": pl.Datetime("ms", "UTC"), "string_set_value": pl.List(pl.String),
        "file_value": pl.Struct({"path": pl.String}),
    }  # fmt: skip
    (folder / "data/p-12").mkdir(parents=True)
    frame = pl.DataFrame([{**base, **row} for row in rows], schema=pl.Schema(columns))
    frame.write_parquet(folder / "data/p-12/RUN-1_part_0.parquet")
    (folder / "files/p").mkdir(parents=True)
    (folder / "files/p/m.bin").write_bytes(b"model")
    (folder.parent / "x").write_bytes(b"secret")
    return folder


def test_an_export_of_neptune(here: Here, tmp_path: Path) -> None:
    report = here.bring(Neptune(str(neptune(tmp_path / "exports"))))
    run = here.runs()["first"]
    assert (run.experiment, run.status) == ("org/p", Status.FAILED)
    assert run.params == {"lr": 0.1, "n": 7}
    assert (run.tags["t"], run.tags["neptune.steps"]) == ("", "times 10")
    points = here.points(run, "m/loss")
    assert [step for step, _, _ in points] == [5, 15, 20]
    assert [value for _, _, value in points[:2]] == [1.0, 2.0]
    files = here.files(run)
    assert files["model"] == b"model"
    assert b'"line"' in files["out.jsonl"]
    assert "evil" not in files
    assert {each.what for each in report.left} == {"evil", "strange"}


def test_parquet_of_something_else_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(Invalid, match="neptune-exporter"):
        Neptune(str(tmp_path))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader_of_messages(data: bytes) -> None:
    with contextlib.suppress(Invalid):
        found = Message(data)
        for number in found.numbers():
            for read in (found.text, found.int, found.ints, found.doubles, found.double):
                with contextlib.suppress(Invalid):
                    read(number)
