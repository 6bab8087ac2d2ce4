"""The Python modules of one project folder, imported without leaking into another's.

Two projects may both have a ``features.py``. Python keeps one module a name for the whole
process, so a project's modules stand in `sys.modules` only while its code runs, and code
of one project runs at a time. Modules of installed packages are shared as usual.
"""

import ast
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from blake3 import blake3

_LOCK = threading.RLock()  # sys.modules and sys.path belong to the whole process
_SPACES: dict[Path, tuple[str, "ModuleSpace"]] = {}
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"}


class ModuleSpace:
    """The modules of one folder, in the state of its files when they were imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prefix = str(folder).rstrip(os.sep) + os.sep
        self.modules: dict[str, ModuleType] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let imports find this folder's modules first, and only here.

        Also what unpickles objects of the project's own classes needs.
        """
        with _LOCK:
            path, bytecode = str(self.folder), sys.dont_write_bytecode
            hidden = _take(self._foreign())
            before = set(sys.modules)
            sys.modules.update(self.modules)
            sys.path.insert(0, path)
            sys.dont_write_bytecode = True  # leaves no litter, and works where read-only
            try:
                yield
            finally:
                sys.dont_write_bytecode = bytecode
                sys.path.remove(path)
                new = sys.modules.keys() - before
                self.modules = _take(name for name in new if self._owns(sys.modules[name]))
                sys.modules.update(hidden)

    def load(self, name: str) -> ModuleType:
        """Import a module, as Python would in the folder."""
        with self.active():
            importlib.invalidate_caches()
            return importlib.import_module(name)

    def has(self, name: str) -> bool:
        """Whether the folder itself has a module of this name."""
        return find(self.folder, name) is not None

    def clashes(self, name: str) -> str | None:
        """Say which installed module the folder's module `name` would hide, if any."""
        top = name.partition(".")[0]
        if not self.has(top):
            return None
        if top in sys.stdlib_module_names:
            return "Python's standard library"
        installed = [path for path in sys.path if path.endswith("-packages")]
        spec = importlib.machinery.PathFinder.find_spec(top, installed)
        return "an installed package" if spec is not None and spec.loader else None

    def _foreign(self) -> list[str]:
        """Return loaded modules from elsewhere whose names this folder uses too."""
        loaded = {name.partition(".")[0] for name in sys.modules}
        here = {path.stem for path in self.folder.iterdir()} & loaded
        tops = {name for name in here if self.has(name) and not self.clashes(name)}
        return [name for name in sys.modules if name.partition(".")[0] in tops]

    def _owns(self, module: ModuleType | None) -> bool:
        file = getattr(module, "__file__", None)
        places = [file] if file else _search_path(module)
        return any(self._inside(place) for place in places)

    def _inside(self, place: str) -> bool:
        if not place.startswith(self._prefix):  # nearly all modules: keep it cheap
            return False
        parts = Path(place).relative_to(self.folder).parts
        return not any(part.startswith(".") or part in _SKIPPED for part in parts)


def space(folder: Path) -> ModuleSpace:
    """Return the modules of a folder: the same ones until a source file changes."""
    stamp = hash_files(folder, sources(folder))
    with _LOCK:
        known = _SPACES.get(folder)
        if known is None or known[0] != stamp:
            known = _SPACES[folder] = (stamp, ModuleSpace(folder))
        return known[1]


def space_of(function: object) -> ModuleSpace | None:
    """Return the modules among which a function was defined, if they are a project's."""
    names = getattr(function, "__globals__", {}).get("__name__")
    with _LOCK:
        for _, found in _SPACES.values():
            module = found.modules.get(names) if names else None
            if module is not None and vars(module) is getattr(function, "__globals__", 0):
                return found
    return None


def is_installed(name: str) -> bool:
    """Whether a module can be imported from outside any project."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def find(folder: Path, name: str) -> Path | None:
    """Return the file (or folder) of a module below `folder`, or None."""
    path = folder.joinpath(*name.split("."))
    if path.with_name(path.name + ".py").is_file():
        return path.with_name(path.name + ".py")
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    if path.is_dir() and path.name not in _SKIPPED and any(path.glob("*.py")):
        return path
    return None


def sources(folder: Path) -> list[Path]:
    """Return the Python files below a folder, without hidden and installed ones."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _SKIPPED:
            continue
        if path.is_dir() and not path.is_symlink() and not (path / "pyvenv.cfg").exists():
            found += sources(path)
        elif path.suffix == ".py" and path.is_file():
            found.append(path)
    return found


def reachable(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the project's files that modules import, directly or through others.

    Imports are read from the source, without running it. A file that imports by a name
    made at run time (``importlib``, ``__import__``) reaches every file of the project.
    """
    seen: dict[str, Path] = {}
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        path = find(folder, name)
        if path is None or name in seen:
            continue
        seen[name] = path
        if "." in name:
            ahead.append(name.rpartition(".")[0])
        if path.is_file():
            found = _imports(path, name)
            if found is None:
                return sources(folder)
            ahead += found
    return sorted({path for path in seen.values() if path.is_file()})


def hash_files(folder: Path, files: Iterable[Path]) -> str:
    """Return the hash of files: their paths below `folder` and their contents."""
    digest = blake3()
    for path in files:
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        digest.update(f"{len(name.encode())}:{name}:{len(content)}:".encode())
        digest.update(content)
    return f"blake3:{digest.hexdigest()}"


def _imports(path: Path, name: str) -> list[str] | None:
    """Return the modules a file may import; None if only running it would tell."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, package)
            found += [source, *(f"{source}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Name) and node.id == "__import__":
            return None
    found = [module.strip(".") for module in found]
    return None if any(m.partition(".")[0] == "importlib" for m in found) else found


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _search_path(module: ModuleType | None) -> list[str]:
    """Return the folders of a namespace package."""
    try:
        return [str(place) for place in getattr(module, "__path__", ())]
    except (KeyError, TypeError):  # a namespace whose parent is gone
        return []


def _take(names: Iterable[str]) -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in list(names)}
