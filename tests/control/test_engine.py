"""A training in a process of its own: what takes the process down fails one training."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.stores import Files

from setpoint.cli.init_project import create
from setpoint.config import Settings
from setpoint.control import applying, store
from setpoint.control.controller import Controller
from setpoint.control.decide import Run
from setpoint.control.engine import Subprocess
from setpoint.control.entities import Job, JobState
from setpoint.control.project import load
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Unavailable


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_stores: Files
) -> Iterator[LocalBackend]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    folder = tmp_path / "home"
    local = open_local(Settings(home=folder, database_url=file_stores.empty(folder), actor="ada"))
    yield local
    local.engine.dispose()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Subprocess]:
    monkeypatch.setattr("setpoint.control.engine._PAUSE_SECONDS", 0.0)
    made = Subprocess()
    yield made
    made.stop()


def prepared(home: LocalBackend, folder: Path, train: str) -> None:
    """Apply a project whose train function is `train`."""
    create("churn", folder)
    code = folder / "churn.py"
    lines = "".join(f"    {line}\n" for line in train.splitlines())
    text = code.read_text()
    code.write_text(
        text.replace("    model = make_pipeline(\n", lines + "    model = make_pipeline(\n", 1)
    )
    applying.apply(home, load(folder))


def until_over(
    home: LocalBackend, engine: Subprocess, between: Callable[[], None] = lambda: None
) -> tuple[Job, list[str], list[str]]:
    """Tick until the training has an outcome; also the steps told and what went wrong."""
    steps: list[str] = []
    trouble: list[str] = []
    controller = Controller(home, engine=engine, told=lambda _, step: steps.append(step.step))
    end = time.monotonic() + 60
    while True:
        try:
            controller.tick()
        except Unavailable as error:
            trouble.append(error.message)
        between()
        with home.engine.begin() as conn:
            job = store.last_job(conn, "churn")
        if job is not None and job.state is not JobState.REQUESTED:
            while engine.busy:
                time.sleep(0.01)
            engine.tidy()
            return job, steps, trouble
        assert time.monotonic() < end
        time.sleep(0.02)


def worker() -> psutil.Process | None:
    for child in psutil.Process().children():
        try:
            if "setpoint.control.worker" in child.cmdline():
                return child
        except psutil.Error:
            continue
    return None


def test_a_training_tells_its_steps_and_leaves_no_process(
    home: LocalBackend, engine: Subprocess, tmp_path: Path
) -> None:
    prepared(home, tmp_path / "churn", 'print("noise on stdout")')
    job, steps, trouble = until_over(home, engine)
    assert (job.state, job.version, job.attempts) == (JobState.REGISTERED, 1, 1)
    assert steps == ["table", "fitted", "baseline", "scores", "made", "judged"]
    assert trouble == []
    assert worker() is None


@pytest.mark.parametrize(
    ("train", "outcome"),
    [
        ("import os; os._exit(1)", "exited with code 1 before it was done"),
        ("import os; os.abort()", "crashed with SIGABRT"),
        ('raise KeyError("no column größe")', "churn:train raised KeyError: 'no column größe'"),
    ],
)
def test_a_train_function_that_dies_or_raises_fails_its_training_at_once(
    home: LocalBackend, engine: Subprocess, tmp_path: Path, train: str, outcome: str
) -> None:
    prepared(home, tmp_path / "churn", train)
    job, _, trouble = until_over(home, engine)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert outcome in (job.outcome or "")
    assert trouble == []
    assert Controller(home, engine=engine).tick().actions == []  # and it is not tried again


def test_a_training_that_is_killed_is_tried_three_times(
    home: LocalBackend, engine: Subprocess, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    prepared(
        home,
        tmp_path / "churn",
        f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)",
    )

    def kill() -> None:
        found = worker()
        if begun.exists() and found is not None:
            begun.unlink()
            os.kill(found.pid, signal.SIGKILL)

    job, _, trouble = until_over(home, engine, kill)
    assert (job.state, job.attempts) == (JobState.FAILED, 3)
    assert job.outcome is not None
    assert "killed by SIGKILL 3 times" in job.outcome
    assert trouble == ["the training of churn was killed by SIGKILL"] * 2


def test_stopping_ends_the_child_and_leaves_the_training_open(
    home: LocalBackend, engine: Subprocess, tmp_path: Path
) -> None:
    prepared(home, tmp_path / "churn", "import time; time.sleep(60)")
    controller = Controller(home, engine=engine)
    assert not any(isinstance(action, Run) for _, action in controller.tick().actions)
    assert worker() is not None
    engine.stop()
    assert not engine.busy
    assert worker() is None
    with home.engine.begin() as conn:
        assert store.open_job(conn, "churn") is not None
