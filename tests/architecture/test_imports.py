"""What importing Setpoint costs is a matter of what it drags in: that is what is tested."""

import subprocess
import sys

import pytest

#: Each costs tens to thousands of milliseconds, and no help text needs one.
HEAVY = {
    "alembic",
    "deltalake",
    "jinja2",
    "lightgbm",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "uvicorn",
}


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running `code`."""
    report = (
        "import sys\n"
        f"{code}\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def test_importing_setpoint_loads_nothing_heavy() -> None:
    loaded = loaded_by("import setpoint")
    assert "setpoint" in loaded
    assert not loaded & HEAVY


def test_importing_setpoint_loads_the_standard_library_and_itself_only() -> None:
    bare = loaded_by("pass")
    ours = loaded_by("import setpoint") - bare - set(sys.stdlib_module_names)
    assert ours == {"setpoint"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_help_of_the_command_line_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(
        "from setpoint.cli.main import main\n"
        f"sys.argv = {['setpoint', *arguments]!r}\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code"
    )
    assert "click" in loaded
    assert not loaded & HEAVY


def test_every_public_name_is_there_when_asked_for() -> None:
    loaded_by("import setpoint\nfor name in setpoint.__all__: getattr(setpoint, name)")
