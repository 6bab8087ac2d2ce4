"""What is shipped: the wheel holds all that the code reads, built without Node at hand."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
IGNORED = {"__pycache__"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={"PATH": ""},
    )
    (built,) = folder.glob("*.whl")
    return set(ZipFile(built).namelist())


def test_the_wheel_holds_every_file_of_the_package(wheel: set[str]) -> None:
    source = ROOT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in (source / "setpoint").rglob("*")
        if path.is_file() and not IGNORED & set(path.parts)
    }
    assert not files - wheel


@pytest.mark.parametrize("name", ["app.js", "app.css"])
def test_the_wheel_holds_the_built_pages(wheel: set[str], name: str) -> None:
    assert f"setpoint/server/static/{name}" in wheel


def test_the_wheel_says_that_it_is_typed(wheel: set[str]) -> None:
    assert "setpoint/py.typed" in wheel


def test_nothing_built_asks_another_host_for_anything() -> None:
    static = ROOT / "src" / "setpoint" / "server" / "static"
    style = (static / "app.css").read_text()
    assert "@import" not in style
    assert "url(http" not in style
    assert "url(//" not in style
