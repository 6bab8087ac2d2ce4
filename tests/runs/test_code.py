"""Code capture: enough to run it again, with git and without."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from setpoint.artifacts.files import FileStore
from setpoint.errors import Invalid
from setpoint.runs import code, environment


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "objects")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "flights.py").write_text("def train(): ...\n")
    (folder / "lib" / "more.py").write_text("X = 1\n")
    (folder / "late.setpoint.yaml").write_text("model: late\n")
    (folder / "flights.parquet").write_bytes(b"not code")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "big.py").write_text("pass\n")
    return folder


def git(folder: Path, *command: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True)


def manifest(store: FileStore, address: str | None) -> dict[str, str]:
    assert address is not None
    return msgspec.json.decode(store.get(address), type=dict[str, str])


def test_without_git_the_snapshot_has_code_and_configuration_only(
    project: Path, store: FileStore
) -> None:
    found = code.capture(project, store)
    assert (found.commit, found.diff, found.files) == (None, None, 3)
    names = list(manifest(store, found.snapshot))
    assert names == ["flights.py", "late.setpoint.yaml", "lib/more.py"]


def test_the_same_code_has_the_same_address_and_changed_code_another(
    project: Path, store: FileStore
) -> None:
    first = code.capture(project, store)
    assert code.capture(project, store) == first
    (project / "flights.py").write_text("def train(): return 1\n")
    assert code.capture(project, store).snapshot != first.snapshot


def test_with_git_the_commit_and_the_difference_are_recorded(
    project: Path, store: FileStore
) -> None:
    git(project, "init", "-q")
    git(project, "add", "flights.py")
    git(project, "commit", "-q", "-m", "first")
    clean = code.capture(project, store)
    assert clean.commit is not None
    assert len(clean.commit) == 40
    assert (clean.dirty, clean.diff) == (False, None)
    (project / "flights.py").write_text("changed = True\n")
    dirty = code.capture(project, store)
    assert dirty.dirty
    assert dirty.diff is not None
    assert b"+changed = True" in store.get(dirty.diff)


def test_a_snapshot_is_restored_file_by_file(
    project: Path, store: FileStore, tmp_path: Path
) -> None:
    address = code.capture(project, store).snapshot
    assert address is not None
    assert code.restore(store, address, tmp_path / "again") == 3
    assert (tmp_path / "again" / "lib" / "more.py").read_text() == "X = 1\n"


def test_a_snapshot_cannot_write_outside_its_folder(store: FileStore, tmp_path: Path) -> None:
    address = store.put(b'{"../evil.py": "b3:00"}')
    with pytest.raises(Invalid, match="outside"):
        code.restore(store, address, tmp_path / "again")


def test_the_environment_is_one_object_however_often_it_is_captured(
    store: FileStore,
) -> None:
    address = environment.capture(store)
    assert environment.capture(store) == address
    found = environment.read(store, address)
    assert any(each.startswith("numpy==") for each in found.distributions)
    assert found.cpus >= 1
