import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import setpoint

from setpoint.cli.init_project import create
from setpoint.cli.main import run

Said = tuple[int, str, str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, the current folder; nothing is applied."""
    monkeypatch.delenv("SETPOINT_HOME", raising=False)
    folder = create("churn", tmp_path / "churn").folder
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first version is live, made once for the tests of a module."""
    folder = create("churn", tmp_path_factory.mktemp("made") / "churn").folder
    out = setpoint(folder, "apply")
    assert out.returncode == 0, out.stdout + out.stderr
    return folder


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process: its exit code, stdout and stderr."""

    def called(*words: str) -> Said:
        code = run(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return called


@pytest.fixture
def ask(say: Callable[..., Said]) -> Callable[..., Any]:
    """Run a command with --json; its result."""

    def called(*words: str) -> Any:
        code, out, err = say(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return called
