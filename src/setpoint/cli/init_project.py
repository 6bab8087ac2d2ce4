"""What `setpoint init` writes: a small project that works as it is."""

import csv
import errno
import importlib.resources
import io
import json
import math
import random
import re
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from importlib.machinery import PathFinder
from pathlib import Path

import yaml
from msgspec import Struct

from setpoint.control.spec.names import bad_model_name
from setpoint.errors import Conflict, Denied, Invalid, Unavailable

ROWS = 3_000
_FIRST = datetime(2024, 1, 1, 8, tzinfo=UTC)
_PLANS = (("basic", 9.0), ("plus", 19.0), ("pro", 49.0))
_COLUMNS = (
    "customer_id", "reviewed_at", "plan", "tenure_months", "monthly_fee", "logins_30d",
    "support_tickets_90d", "days_since_login", "churned",
)  # fmt: skip


class Created(Struct, frozen=True, kw_only=True):
    """What was written."""

    name: str
    folder: Path
    files: list[str]  #: relative to the folder


def create(name: str, folder: Path) -> Created:
    """Write a project of the model `name` into a folder, which is made if need be.

    Other files may be in the folder already; none is overwritten. After a failure
    nothing is left of what was written.

    Raises:
        Invalid: If it cannot be the name of a model.
        Conflict: If one of the files is there already.
        Denied: If the folder may not be written.
        Unavailable: If writing fails, as on a full disk.
    """
    name = unicodedata.normalize("NFC", name)
    wrong = bad_model_name(name)
    if wrong is not None:
        raise Invalid(f"“{name}” cannot be the name of a model", hint=wrong)
    files = contents(name)
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder} is a file", hint="name a folder")
    there = [path for path in files if (folder / path).exists()]
    if there:
        raise Conflict(
            f"{folder} already has {', '.join(there)}",
            hint="nothing was written: choose another name or folder",
        )
    _write(folder, files)
    return Created(name=name, folder=folder, files=list(files))


def contents(name: str) -> dict[str, str]:
    """Return the files of the project of a model: path and text."""
    module = module_name(name)
    words = {"name": name, "module": module, "quoted": _quoted(name)}
    return {
        f"{name}.setpoint.yaml": _template("spec.yaml", words),
        f"{module}.py": _template("module.py", words),
        f"contracts/{name}.odcs.yaml": _template("contract.yaml", words),
        "data/customers.csv": customers(),
        f"tests/test_{module}.py": _template("test.py", words),
        "README.md": _template("README.md", words),
        ".gitignore": _template("gitignore", words),
    }


def module_name(name: str) -> str:
    """Return the name of the Python file of a model; it hides no installed module.

    Example:
        >>> module_name("customer-churn"), module_name("2024"), module_name("random")
        ('customer_churn', 'model_2024', 'random_model')
    """
    module = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
    if not module.isidentifier():
        module = f"model_{module}"
    taken = {"setpoint", "tests", "data", "contracts"} | sys.stdlib_module_names
    installed = [path for path in sys.path if path.endswith("-packages")]
    if module in taken or PathFinder.find_spec(module, installed) is not None:
        module += "_model"
    try:
        compile(f"import {module}", "name", "exec")
    except SyntaxError:  # a word of Python's own, such as class
        module += "_model"
    return module


def customers(seed: int = 7) -> str:
    """Return 3,000 made-up customers as CSV, the same for the same seed.

    Who logs in seldom, asks for help often and is new leaves more; the noise keeps the
    best possible ROC AUC near 0.85. Reviews are spread over 2024.
    """
    chance = random.Random(seed)  # noqa: S311 - data for a tutorial
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for number in range(ROWS):
        writer.writerow(_customer(number, chance))
    return text.getvalue()


def _customer(number: int, chance: random.Random) -> list[object]:
    plan, fee = _PLANS[min(int(chance.random() * 3.6), 2)]
    at = _FIRST + timedelta(days=366 * number / ROWS, minutes=chance.randrange(120))
    tenure = int(-24 * math.log(1 - chance.random()))
    logins = int(-9 * math.log(1 - chance.random()) * (1.4 if plan == "pro" else 1.0))
    tickets = sum(chance.random() < 0.12 for _ in range(10))
    idle = None if chance.random() < 0.02 else int(chance.random() * 60 / (1 + logins))
    paid = round(fee * (0.8 + 0.4 * chance.random()), 2)
    leaning = (
        0.2 - 0.16 * logins + 0.55 * tickets - 0.03 * tenure
        + 0.03 * (idle or 30) + {"basic": 0.3, "plus": 0.0, "pro": -0.4}[plan]
    )  # fmt: skip
    left = chance.random() < 1 / (1 + math.exp(-leaning))
    moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    known = "" if idle is None else idle
    return [
        f"C{number:05d}", moment, plan, tenure, paid, logins, tickets, known, int(left)
    ]  # fmt: skip


def _template(name: str, words: dict[str, str]) -> str:
    resource = importlib.resources.files("setpoint.cli") / "templates" / f"{name}.tmpl"
    text = resource.read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text


def _quoted(name: str) -> str:
    """Quote a name that YAML would take for something else than text."""
    try:
        plain = yaml.safe_load(name)
    except (yaml.YAMLError, ValueError):
        plain = None
    return name if plain == name else json.dumps(name, ensure_ascii=False)


def _write(folder: Path, files: dict[str, str]) -> None:
    made: list[Path] = []
    try:
        _make(folder, made)
        for relative, text in files.items():
            path = folder / relative
            _make(path.parent, made)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink()
        refused = isinstance(error, PermissionError) or error.errno == errno.EROFS
        kind = Denied if refused else Unavailable
        raise kind(
            f"{folder} cannot be written: {error.strerror}",
            where=str(error.filename or folder),
            hint="choose a folder you may write to" if refused else "nothing was written",
        ) from error


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, noting which are new."""
    if folder.is_dir():
        return
    _make(folder.parent, made)
    folder.mkdir()
    made.append(folder)
