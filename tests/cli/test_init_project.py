"""`setpoint init` writes a project that works as it is, and overwrites nothing."""

import json
import os
import stat
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import msgspec
import pytest

from setpoint.cli import init_project
from setpoint.cli.init_project import contents, create, customers, module_name
from setpoint.control.project import load
from setpoint.data import contract
from setpoint.errors import Conflict, Denied, Invalid, Unavailable

ROOT = Path(__file__).parents[2]


def test_the_project_passes_its_own_tests(tmp_path: Path) -> None:
    made = create("customer-churn", tmp_path / "new")
    out = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=made.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stdout + out.stderr
    assert "4 passed" in out.stdout


@pytest.mark.parametrize(
    "name",
    ["churn", "customer-churn", "2024", "on", "größe-日本", "random", "polars", "class"],
)
def test_any_name_of_a_model_gives_a_spec_of_that_model(tmp_path: Path, name: str) -> None:
    create(name, tmp_path)
    project = load(tmp_path)
    spec = project.spec(name)
    promise = contract.load(project.path(spec.data.contract or ""), spec.data.rows)
    assert promise.name == name
    module = spec.train.code.partition(":")[0]
    assert (tmp_path / f"{module}.py").is_file()
    compile((tmp_path / f"{module}.py").read_text(encoding="utf-8"), module, "exec")


def test_the_contract_is_valid_by_the_published_schema() -> None:
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text())
    text = contents("churn")["contracts/churn.odcs.yaml"]
    jsonschema.Draft201909Validator(schema).validate(msgspec.yaml.decode(text))


def test_no_placeholder_is_left() -> None:
    assert not [path for path, text in contents("churn").items() if "{{" in path + text]


def test_the_data_is_the_same_every_time() -> None:
    assert customers() == customers()
    assert customers(8) != customers()
    assert len(customers().splitlines()) == init_project.ROWS + 1


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b", "x" * 65, ".hidden", "a:b", "a\0"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name"):
        create(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(Conflict, match=r"already has README\.md"):
        create("churn", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    create("churn", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(Conflict, match=r"churn\.setpoint\.yaml"):
        create("churn", tmp_path)


def test_a_file_in_place_of_the_folder_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(Conflict, match="is a file"):
        create("churn", tmp_path / "taken")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(Denied, match="cannot be written"):
        create("churn", tmp_path / "new")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_a_folder_nobody_can_write_is_an_error_in_words() -> None:
    with pytest.raises((Denied, Unavailable), match="cannot be written"):
        create("churn", Path("/proc/self/churn"))


def test_after_a_failure_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    blocker = {"a.txt": "x", "b/c.txt": "y", "a.txt/d.txt": "z"}  # the last cannot be
    with pytest.raises(Unavailable, match="cannot be written"):
        init_project._write(folder, blocker)
    assert list(tmp_path.iterdir()) == []


def test_the_python_file_hides_no_module() -> None:
    names = [module_name(n) for n in ("json", "polars", "2x", "if", "a-b", "data", "churn")]
    assert names == [
        "json_model", "polars_model", "model_2x", "if_model", "a_b", "data_model", "churn",
    ]  # fmt: skip
