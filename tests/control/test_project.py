"""Projects: their specs are found, their code is imported apart, called and blamed."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from setpoint.control import project as projects
from setpoint.control.project import Project, call_by_name, code_hash, function, load
from setpoint.control.spec.parse import SpecInvalid
from setpoint.errors import Conflict, Invalid, NotFound, SetpointError, UserCodeFailed

SPEC = """\
model: {model}
data: {{source: data/rows.csv}}
train: {{code: {module}:train}}
"""


def make(folder: Path, files: dict[str, str], model: str = "churn") -> Project:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    spec = SPEC.format(model=model, module="work")
    (folder / f"{model}.setpoint.yaml").write_text(spec, encoding="utf-8")
    return load(folder)


def failure(project: Project, code: str) -> SetpointError:
    with pytest.raises(SetpointError) as caught:
        function(project, code, where="churn.setpoint.yaml:3")
    return caught.value


def test_a_folder_gives_its_specs_by_model(tmp_path: Path) -> None:
    make(tmp_path, {}, model="b")
    project = make(tmp_path, {}, model="a")
    assert [spec.model for spec in project.specs] == ["a", "b"]
    assert project.spec("b").train.code == "work:train"
    assert project.where(project.spec("b"), "train.code").endswith("b.setpoint.yaml:3")


def test_a_file_gives_its_one_spec(tmp_path: Path) -> None:
    make(tmp_path, {}, model="b")
    make(tmp_path, {}, model="a")
    project = load(tmp_path / "b.setpoint.yaml")
    assert project.spec().model == "b"
    assert project.folder == tmp_path.resolve()


def test_a_folder_without_specs_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no setpoint file") as caught:
        load(tmp_path)
    assert "setpoint init" in caught.value.hint


def test_a_path_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        load(tmp_path / "nowhere")


def test_an_unknown_model_is_answered_with_the_nearest(tmp_path: Path) -> None:
    project = make(tmp_path, {})
    with pytest.raises(NotFound) as caught:
        project.spec("chrun")
    assert "did you mean “churn”?" in caught.value.hint


def test_two_specs_of_one_model_are_refused(tmp_path: Path) -> None:
    make(tmp_path, {})
    (tmp_path / "other.setpoint.yaml").write_text(SPEC.format(model="churn", module="work"))
    with pytest.raises(Conflict, match="two specs"):
        load(tmp_path)


def test_a_bad_spec_names_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "m.setpoint.yaml").write_text("model: m\ndata: {sorce: a.csv}\n")
    with pytest.raises(SpecInvalid, match=r"m\.setpoint\.yaml:2: unknown key “data\.sorce”"):
        load(tmp_path)


def test_two_projects_with_modules_of_one_name_stay_apart(tmp_path: Path) -> None:
    before = set(sys.modules)
    shared = "from helper import VALUE\ndef train():\n    return VALUE"
    one = make(tmp_path / "one", {"work.py": shared, "helper.py": "VALUE = 1"})
    two = make(tmp_path / "two", {"work.py": shared, "helper.py": "VALUE = 2"})
    first, second = function(one, "work:train"), function(two, "work:train")
    assert [call_by_name(f, {}) for f in (first, second, first)] == [1, 2, 1]
    assert function(one, "work:train") is first
    assert set(sys.modules) == before
    assert not {str(one.folder), str(two.folder)} & set(sys.path)


def test_an_import_inside_a_function_finds_its_own_project(tmp_path: Path) -> None:
    late = "def train():\n    import helper\n    return helper.VALUE"
    one = make(tmp_path / "one", {"work.py": late, "helper.py": "VALUE = 1"})
    two = make(tmp_path / "two", {"work.py": late, "helper.py": "VALUE = 2"})
    first, second = function(one, "work:train"), function(two, "work:train")
    assert [call_by_name(f, {}) for f in (first, second, first)] == [1, 2, 1]


def test_a_loaded_module_of_the_same_name_is_put_back(tmp_path: Path) -> None:
    marker = type(sys)("work")
    sys.modules["work"] = marker
    try:
        project = make(tmp_path, {"work.py": "def train():\n    return 'mine'"})
        assert call_by_name(function(project, "work:train"), {}) == "mine"
        assert sys.modules["work"] is marker
    finally:
        del sys.modules["work"]


def test_packages_and_relative_imports_work(tmp_path: Path) -> None:
    files = {
        "pack/__init__.py": "",
        "pack/deep.py": "from .sister import VALUE\nfrom . import sister\n"
        "class Made:\n    @staticmethod\n    def train():\n        return VALUE",
        "pack/sister.py": "VALUE = 5",
    }
    project = make(tmp_path, files)
    assert call_by_name(function(project, "pack.deep:Made.train"), {}) == 5


def test_a_changed_file_is_imported_anew(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "def train():\n    return 1"})
    assert call_by_name(function(project, "work:train"), {}) == 1
    (tmp_path / "work.py").write_text("def train():\n    return 2")
    assert call_by_name(function(project, "work:train"), {}) == 2
    assert not (tmp_path / "__pycache__").exists()


def test_installed_functions_can_be_named(tmp_path: Path) -> None:
    project = make(tmp_path, {})
    assert call_by_name(function(project, "textwrap:dedent"), {"text": " a"}) == "a"


def test_missing_modules_and_names_come_with_the_nearest(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "def train(): ..."})
    missing = failure(project, "wrok:train")
    assert isinstance(missing, NotFound)
    assert "did you mean “work”?" in missing.hint
    assert missing.where == "churn.setpoint.yaml:3"
    missing = failure(project, "work:trian")
    assert "work has no “trian”" in missing.message
    assert "did you mean “train”?" in missing.hint


def test_what_cannot_be_called_is_refused(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "train = 3"})
    assert "no function but int" in failure(project, "work:train").message


@pytest.mark.parametrize(
    ("name", "owner"), [("random", "standard library"), ("polars", "installed package")]
)
def test_a_file_that_hides_an_installed_module_is_refused(
    tmp_path: Path, name: str, owner: str
) -> None:
    project = make(tmp_path, {f"{name}.py": "def train(): ..."})
    error = failure(project, f"{name}:train")
    assert isinstance(error, Invalid)
    assert owner in error.message
    assert "rename" in error.hint


def test_a_syntax_error_names_the_users_line(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "import helper", "helper.py": "x = 1\ndef f(:\n"})
    error = failure(project, "work:train")
    assert isinstance(error, UserCodeFailed)
    assert error.where == f"{project.folder / 'helper.py'}:2"


def test_an_import_that_fails_names_the_users_line(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "x = 1\nimport no_such_package_here"})
    error = failure(project, "work:train")
    assert error.where == (
        f"{project.folder / 'work.py'}:2, in <module>: import no_such_package_here"
    )
    assert "pip install no_such_package_here" in error.hint


def test_an_import_can_be_mended(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "1 / 0"})
    assert isinstance(failure(project, "work:train"), UserCodeFailed)
    (tmp_path / "work.py").write_text("def train(): return 1")
    assert call_by_name(function(project, "work:train"), {}) == 1


def test_an_exception_of_the_user_names_their_innermost_line(tmp_path: Path) -> None:
    code = """\
    import json
    def train(features):
        return inner(features)
    def inner(features):
        return json.loads(features)
    """
    project = make(tmp_path, {"work.py": code})
    train = function(project, "work:train")
    with pytest.raises(UserCodeFailed) as caught:
        call_by_name(train, {"features": "{", "seed": 1}, name="work:train")
    error = caught.value
    assert error.message.startswith("work:train raised JSONDecodeError: Expecting")
    assert error.where == (f"{project.folder / 'work.py'}:5, in inner: return json.loads(features)")


def test_leaving_the_process_is_a_failure_as_any_other(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "import sys\ndef train():\n    sys.exit(3)"})
    with pytest.raises(UserCodeFailed, match="SystemExit: 3"):
        call_by_name(function(project, "work:train"), {})


def test_values_are_given_by_name() -> None:
    def some(seed: int, rows: str = "none", extra: int = 9) -> tuple[int, str, int]:
        return seed, rows, extra

    assert call_by_name(some, {"seed": 1, "rows": "all", "unused": 0}) == (1, "all", 9)

    def everything(seed: int, **others: int) -> dict[str, int]:
        return {"seed": seed, **others}

    assert call_by_name(everything, {"seed": 1, "b": 2}) == {"seed": 1, "b": 2}


def test_a_parameter_nobody_gives_is_answered_with_what_there_is() -> None:
    def train(lable: int) -> int:
        return lable

    with pytest.raises(Invalid, match="train asks for “lable”") as caught:
        call_by_name(train, {"label": 1, "features": 2, "seed": 3})
    assert caught.value.hint.startswith("did you mean “label”?")
    assert "features" in caught.value.hint
    assert caught.value.where.startswith(__file__)


def test_functions_that_cannot_be_called_by_name_are_refused() -> None:
    def positional(rows: int, /) -> int:
        return rows

    async def later() -> None:
        """Do nothing."""

    for func in (positional, later):
        with pytest.raises(Invalid):
            call_by_name(func, {"rows": 1})


def test_the_code_hash_follows_imports_and_nothing_else(tmp_path: Path) -> None:
    files = {
        "work.py": "from helper import f\nimport pack.part\ndef train(): ...",
        "helper.py": "f = 1",
        "pack/__init__.py": "",
        "pack/part.py": "x = 1",
        "other.py": "y = 1",
        "tests/test_work.py": "z = 1",
    }
    project = make(tmp_path, files)
    before = code_hash(project)
    assert before.startswith("blake3:")
    for name in ("other.py", "tests/test_work.py"):
        (tmp_path / name).write_text("changed = 1")
    assert code_hash(project) == before
    hashes = {before}
    for name in ("helper.py", "pack/__init__.py", "pack/part.py", "work.py"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n# changed")
        hashes.add(code_hash(project))
    assert len(hashes) == 5


def test_imports_made_at_run_time_reach_every_file(tmp_path: Path) -> None:
    files = {"work.py": "import importlib\ndef train(): ...", "other.py": "y = 1"}
    project = make(tmp_path, files)
    before = code_hash(project)
    (tmp_path / "other.py").write_text("y = 2")
    assert code_hash(project) != before


def test_an_environment_inside_the_folder_is_not_the_project(tmp_path: Path) -> None:
    files = {
        "work.py": "import importlib\ndef train(): ...",
        "env2/pyvenv.cfg": "",
        "env2/lib/thing.py": "x = 1",
        ".hidden/thing.py": "x = 1",
    }
    project = make(tmp_path, files)
    before = code_hash(project)
    for name in ("env2/lib/thing.py", ".hidden/thing.py"):
        (tmp_path / name).write_text("x = 2")
    assert code_hash(project) == before


def test_a_project_can_be_entered_for_what_else_runs_its_code(tmp_path: Path) -> None:
    project = make(tmp_path, {"work.py": "VALUE = 3\ndef train(): ..."})
    with projects.active(project):
        import work  # type: ignore[import-not-found]  # noqa: PLC0415

        assert work.VALUE == 3
    assert "work" not in sys.modules
