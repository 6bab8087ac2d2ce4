"""What a server of packages imports: read off the code, so that an image has that and no more."""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

import setpoint

_ROOT = Path(setpoint.__file__).parent
_OURS = _ROOT.name


class Imported(Struct, frozen=True):
    """The modules of ours that some modules need, and the names of others'."""

    modules: dict[str, bytes]  #: source by path: ``setpoint/serve/main.py``
    foreign: frozenset[str]  #: top-level names that are not the standard library's


def imported_by(roots: Iterable[str]) -> Imported:
    """Return what is imported when `roots` are, by them and by what they import.

    An import inside of a function is left out: it is for what a package never does (a
    database, a pickle), or its root is named by the caller.
    """
    waiting = list(roots)
    modules: dict[str, bytes] = {}
    foreign: set[str] = set()
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.partition(".")[0] != _OURS:
            foreign.add(name.partition(".")[0])
            continue
        file = _file(name)
        if file is None:  # a function or class of the module that was seen, too
            continue
        source = file.read_bytes()
        modules[file.relative_to(_ROOT.parent).as_posix()] = source
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += _named(ast.parse(source).body)
    return Imported(modules, frozenset(foreign - set(sys.stdlib_module_names)))


def _file(name: str) -> Path | None:
    path = _ROOT.parent.joinpath(*name.split("."))
    found = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return found if found.is_file() else None


def _named(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements outside of functions import."""
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.Try):
            yield from _named([*statement.body, *statement.orelse, *statement.finalbody])
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" not in ast.dump(statement.test):
            yield from _named([*statement.body, *statement.orelse])
