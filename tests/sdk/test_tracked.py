"""What `run.log` and its siblings keep, and that none of them ever stops a training."""

import math
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.sdk.conftest import NOTHING
from tests.sdk.reading import (
    all_points,
    files,
    only_folder,
    points,
    records,
    said,
    values,
)

import setpoint as sp
from setpoint.errors import Invalid, Unavailable
from setpoint.sdk.capture import Capture
from setpoint.sdk.folders import RunFolder
from setpoint.sdk.records import Begin, End, Origin
from setpoint.sdk.tracked import Tracked


def test_each_name_counts_its_own_steps(offline: Tracked) -> None:
    offline.log(loss=0.9)
    offline.log(loss=0.8, auc=0.5)
    offline.log(loss=0.1, step=-5)
    offline.log(loss=0.2)
    assert values(offline, "loss") == [(0, 0.9), (1, 0.8), (-5, 0.1), (-4, 0.2)]
    assert values(offline, "auc") == [(0, 0.5)]


def test_numbers_of_any_kind_are_numbers(offline: Tracked) -> None:
    offline.log(a=True, b=np.float32(0.5), c=np.array([[7]]), d=10**300, step=np.int64(3))
    for name, value in {"a": 1.0, "b": 0.5, "c": 7.0, "d": 1e300}.items():
        assert values(offline, name) == [(3, value)]


def test_nan_and_infinities_are_kept_and_told_apart(offline: Tracked) -> None:
    for value in (math.nan, math.inf, -math.inf):
        offline.log(loss=value)
    kept = [value for _, value in values(offline, "loss")]
    assert math.isnan(kept[0])
    assert kept[1:] == [math.inf, -math.inf]


def test_groups_and_odd_names_are_kept(offline: Tracked) -> None:
    names = ["a b", "π/🙂", 'quote"s', "x" * 5_000, "a\nb", ""]
    offline.log({"train": {"loss": 1, "deep": {"er": 2}}, **dict.fromkeys(names, 0)}, step=1)
    assert values(offline, "train/deep/er") == [(1, 2.0)]
    for name in names:
        assert values(offline, name) == [(1, 0.0)]


@pytest.mark.parametrize("value", ["0.5", None, [1, 2], np.zeros(3), object(), 10**400, 1j])
def test_what_is_no_number_is_told_once_and_does_no_harm(
    offline: Tracked, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for step in range(3):
        offline.log(wrong=value, loss=0.5, step=step)
    assert len(values(offline, "loss")) == 3
    assert not values(offline, "wrong")
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "'wrong' is" in warning
    assert "no number" in warning


def test_a_step_that_is_none_is_counted_on(
    offline: Tracked, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (2**63, math.nan, "x"):
        offline.log(loss=1, step=step)  # type: ignore[arg-type]
    assert [step for step, _ in values(offline, "loss")] == [0, 1, 2]
    assert len(caplog.records) == 1


def test_many_threads_log_into_one_run(offline: Tracked) -> None:
    def work() -> None:
        for _ in range(1_000):
            offline.log(loss=1.0)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(step for step, _ in values(offline, "loss")) == list(range(6_000))


def test_params_and_tags_of_any_kind_are_kept(offline: Tracked) -> None:
    offline.params({"optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}}, leaves=np.int64(31))
    offline.tags({"a b": 1}, by="ada")
    params, tags = said(offline)
    assert params == {"optimizer.lr": 0.1, "optimizer.betas": "[0.9,0.99]", "leaves": 31}
    assert tags == {"a b": "1", "by": "ada"}


def test_files_are_kept_as_they_were(offline: Tracked, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights.bin").write_bytes(b"\0" * 3_000_000)
    (folder / "card.md").write_text("one")
    offline.artifact("model", folder)
    (folder / "card.md").write_text("two")
    offline.artifact("note.txt", "hello")
    offline.artifact("raw", b"\xff")
    found = files(offline)
    assert found == {
        "model/deep/weights.bin": b"\0" * 3_000_000,
        "model/card.md": b"one",
        "note.txt": b"hello",
        "raw": b"\xff",
    }


def test_a_file_that_is_not_there_is_told(
    offline: Tracked, caplog: pytest.LogCaptureFixture
) -> None:
    offline.artifact("model", Path("no-such-file"))
    assert "'model' is not kept" in caplog.text


def test_a_text_that_looks_like_a_file_is_kept_as_text_and_told(
    offline: Tracked, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model.bin").write_bytes(b"bytes")
    offline.artifact("model", str(tmp_path / "model.bin"))
    assert files(offline)["model"] == str(tmp_path / "model.bin").encode()
    assert "a file is a Path(" in caplog.text


def test_alerts_are_warnings_and_recorded(
    offline: Tracked, caplog: pytest.LogCaptureFixture
) -> None:
    offline.watch("loss", patience=3)
    for value in (1.0, math.nan, math.nan):
        offline.log(loss=value)
    offline.alert("look", "here")
    _, tags = said(offline)
    assert tags["setpoint.alert.loss.nan"] == "loss is nan at step 1"
    assert tags["setpoint.alert.look"] == "here"
    assert len(caplog.records) == 2


def test_code_environment_command_and_machine_are_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("pass\n")
    monkeypatch.chdir(project)
    with sp.run("x", home=tmp_path / "home", offline=True):
        pass
    folder = only_folder(tmp_path / "home")
    found = {type(record): record for record in records(folder)}
    origin, begin = found[Origin], found[Begin]
    assert isinstance(origin, Origin)
    assert isinstance(begin, Begin)
    assert origin.code is not None
    assert origin.code.files == 1
    assert all(folder.objects.has(address) for address in origin.objects)
    assert origin.environment in origin.objects
    assert "python" in begin.tags["setpoint.command"]
    series = all_points(folder)
    assert {"system/cpu", "system/memory", "system/process/memory_mb"} <= series.keys()
    assert series["system/process/memory_mb"][-1][2] > 10


def test_what_is_not_wanted_is_not_captured(tmp_path: Path) -> None:
    with sp.run("x", home=tmp_path, offline=True, capture=NOTHING) as run:
        run.log(a=1)
    (begin, end) = records(only_folder(tmp_path))
    assert isinstance(begin, Begin)
    assert begin.tags == {}
    assert isinstance(end, End)


def test_a_process_that_just_ends_ends_its_runs(tmp_path: Path) -> None:
    script = (
        "import setpoint as sp\n"
        f"run = sp.run('x', home={str(tmp_path)!r}, offline=True)\n"
        "run.log(a=1)\n"
    )
    ended(tmp_path, script, status="finished", error="")


def test_a_process_that_ends_by_an_error_fails_its_runs(tmp_path: Path) -> None:
    script = (
        "import setpoint as sp\n"
        f"run = sp.run('x', home={str(tmp_path)!r}, offline=True)\n"
        "run.log(a=1)\n"
        "raise KeyError('gone')\n"
    )
    ended(tmp_path, script, status="failed", error="KeyError: 'gone'")


def ended(home: Path, script: str, *, status: str, error: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    folder = only_folder(home)
    last = records(folder)[-1]
    assert isinstance(last, End)
    assert (last.status, last.error) == (status, error)
    assert len(all_points(folder)["a"]) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12's
def test_a_forked_child_logs_into_the_same_run(offline: Tracked) -> None:
    offline.log(loss=0.0)
    child = os.fork()
    if not child:
        offline.log(loss=1.0, step=7)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    offline.log(loss=2.0)
    folder = RunFolder(offline.folder)
    assert len(folder.writers()) == 2
    kept = all_points(folder)["loss"]
    assert sorted((step, value) for step, _, value in kept) == [(0, 0.0), (1, 2.0), (7, 1.0)]


def test_a_pool_of_processes_logs_into_the_same_run(offline: Tracked) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        pool.starmap(_log_in_pool, [(offline, i) for i in range(4)])
    kept = all_points(RunFolder(offline.folder))["loss"]
    assert sorted(step for step, _, _ in kept) == [0, 1, 2, 3]
    begins = [r for r in records(RunFolder(offline.folder)) if isinstance(r, Begin)]
    assert [begin.joins for begin in begins].count(False) == 1


def _log_in_pool(run: Tracked, i: int) -> None:
    run.log(loss=float(i), step=i)


class Hostile:
    """A value whose every conversion fails."""

    def __float__(self) -> float:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


def test_nothing_that_is_handed_over_stops_a_training(
    offline: Tracked, caplog: pytest.LogCaptureFixture
) -> None:
    for method in (offline.log, offline.params, offline.tags):
        method({"a": Hostile()})
        method(5)  # type: ignore[arg-type]
        method({"odd \udcff": "\udcff"})
    offline.inputs(flights="three")  # type: ignore[arg-type]
    offline.artifact("a", 5)  # type: ignore[arg-type]
    offline.artifact("b \udcff", "\udcff")
    offline.log(loss=0.5)
    assert values(offline, "loss") == [(0, 0.5)]
    assert said(offline)[1] == {"odd ?": "?"}
    assert "b ?" in files(offline)
    assert "not kept" in caplog.text


def test_an_ended_run_takes_nothing_more_and_ends_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = sp.run("x", home=tmp_path, offline=True, capture=NOTHING)
    assert run.finish()
    run.log(a=1)
    run.params(a=1)
    assert run.finish(error="too late")
    (_, end) = records(only_folder(tmp_path))
    assert isinstance(end, End)
    assert end.status == "finished"
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "is over" in warning


def test_what_can_never_be_a_run_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="needs the name"):
        sp.run(" ", home=tmp_path)
    with pytest.raises(Invalid, match="is no id"):
        sp.run("x", home=tmp_path, id="../x")
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot begin a log"):
        sp.run("x", home=tmp_path / "file")


def test_ids_of_any_length_have_folders_of_their_own(tmp_path: Path) -> None:
    ids = ["a:b", "x" * 256, "x" * 255 + "y"]
    for id_ in ids:
        sp.run("x", home=tmp_path, offline=True, id=id_, capture=NOTHING).finish()
    assert sorted(folder.meta().run for folder in RunFolder.all(tmp_path)) == sorted(ids)


def test_an_offline_run_cannot_be_shown_and_says_what_to_do(offline: Tracked) -> None:
    with pytest.raises(Unavailable) as caught:
        offline.show()
    assert "setpoint sync" in caught.value.hint


def test_capture_of_a_folder_that_is_too_large_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    big = tmp_path / "big"
    big.mkdir()
    (big / "data.py").write_bytes(b"#" * 60_000_000)
    monkeypatch.chdir(big)
    wanted = Capture(environment=False, system=0)
    with sp.run("x", home=tmp_path / "home", offline=True, capture=wanted) as run:
        run.log(a=1)
    assert "the code is not recorded" in caplog.text
    assert len(points(next((tmp_path / "home" / "spool").glob("*/w_*")))["a"]) == 1
