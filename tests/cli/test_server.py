"""`setpoint server`: pages and API alone; what is one machine's is refused elsewhere."""

import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.cli.running import ENVIRONMENT, answers, command, free_ports, until

from setpoint.cli.main import run
from setpoint.config import settings
from setpoint.data.ingest import ingest
from setpoint.db.local import open_local


def test_it_answers_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = str(free_ports()[0])
    process = subprocess.Popen(
        command("server", "--port", port),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "the server answers")
        process.send_signal(signal.SIGINT)
        said, trouble = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, trouble) == (0, "")
    assert f"http://127.0.0.1:{port}" in said
    assert str(tmp_path / ".setpoint" / "objects") in said


def test_an_address_that_others_reach_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["server", "--home", str(tmp_path), "--host", "0.0.0.0"]) == 5  # noqa: S104 - refused
    assert "no login yet" in capsys.readouterr().err


def test_a_platform_does_not_start_where_its_datasets_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SETPOINT_DATABASE_URL", f"sqlite:///{tmp_path / 'shared.db'}")
    here = open_local(settings(tmp_path / "here"))
    ingest(here, "t", pl.DataFrame({"id": [1]}), datetime(2026, 1, 1, tzinfo=UTC))
    here.engine.dispose()
    assert run(["up", "--home", str(tmp_path / "there")]) == 4
    said = capsys.readouterr().err
    assert "files of another folder" in said
    assert str(tmp_path / "here") in said
    assert "setpoint server" in said
