"""Servers of one database need one artifact store: another one is refused, a moved one is not."""

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from setpoint.artifacts.home import service as artifacts
from setpoint.artifacts.store import open_store
from setpoint.cli.main import run
from setpoint.config import Settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Conflict


def elsewhere(settings: Settings, folder: Path) -> LocalBackend:
    """Return the same database, as a server with another folder sees it."""
    return open_local(replace(settings, home=folder))


def test_the_first_store_is_the_one(backend: LocalBackend, tmp_path: Path) -> None:
    artifacts.require(backend)
    artifacts.require(backend)
    other = elsewhere(backend.settings, tmp_path / "other")
    with pytest.raises(Conflict, match="in another store") as refused:
        artifacts.require(other)
    assert str(backend.settings.objects) in str(refused.value)
    assert str(other.settings.objects) in str(refused.value)
    artifacts.require(backend)
    other.engine.dispose()


def test_a_store_may_move_with_its_objects(backend: LocalBackend, tmp_path: Path) -> None:
    kept = open_store(backend.settings).put(b"weights")
    artifacts.require(backend)
    moved = elsewhere(backend.settings, tmp_path / "moved")
    shutil.copytree(backend.settings.objects, moved.settings.objects)
    shutil.rmtree(backend.settings.objects)
    artifacts.require(moved)
    assert open_store(moved.settings).get(kept) == b"weights"
    with pytest.raises(Conflict, match="in another store"):
        artifacts.require(backend)
    moved.engine.dispose()


def test_a_store_that_was_emptied_is_still_the_one(backend: LocalBackend, tmp_path: Path) -> None:
    artifacts.require(backend)
    shutil.rmtree(backend.settings.objects)
    artifacts.require(backend)
    other = elsewhere(backend.settings, tmp_path / "other")
    with pytest.raises(Conflict):
        artifacts.require(other)
    other.engine.dispose()


def test_a_server_that_is_given_another_store_says_so(
    backend: LocalBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    artifacts.require(backend)
    monkeypatch.setenv("SETPOINT_DATABASE_URL", backend.settings.database_url)
    for command in ("server", "up"):
        assert run([command, "--home", str(tmp_path / "other"), "--port", "0"]) != 0
        said = capfd.readouterr().err
        assert "in another store" in said
        assert "SETPOINT_ARTIFACT_URL" in said
        assert "Traceback" not in said
