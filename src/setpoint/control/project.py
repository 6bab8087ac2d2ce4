"""A project: a folder with specs and the user's Python code, and how that code is called.

Whatever goes wrong in the user's code becomes one `UserCodeFailed` that says which
function, which line of theirs, and what their exception said.
"""

import inspect
import linecache
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from setpoint.control import modules
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.graphs import GraphSpec
from setpoint.control.spec.parse import GraphFile, SpecFile, read
from setpoint.control.spec.suggest import did_you_mean
from setpoint.errors import Conflict, Invalid, NotFound, SetpointError, UserCodeFailed
from setpoint.models.flavors.openmp import provide_openmp

SUFFIXES = (".setpoint.yaml", ".setpoint.yml")


class Project(Struct, frozen=True, kw_only=True):
    """A folder with one spec a model, and one a graph of models."""

    folder: Path  #: absolute
    files: tuple[SpecFile, ...]  #: by the name of their model
    graph_files: tuple[GraphFile, ...] = ()  #: likewise

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The specs, by the name of their model."""
        return tuple(file.spec for file in self.files)

    @property
    def graphs(self) -> tuple[GraphSpec, ...]:
        """The specs of graphs, by the name of their endpoint."""
        return tuple(file.spec for file in self.graph_files)

    def file(self, model: str | None = None) -> SpecFile | GraphFile:
        """Return the file of a model or graph; without a name, of the only one.

        Raises:
            NotFound: If there is no such model.
            Invalid: If no name is given and there are several models.
        """
        files: list[SpecFile | GraphFile] = [*self.files, *self.graph_files]
        names = [file.spec.model for file in files]
        if model is None:
            if len(names) > 1:
                hint = f"name one of: {', '.join(names)}"
                raise Invalid(f"{self.folder} has {len(names)} models", hint=hint)
            return files[0]
        for file in files:
            if file.spec.model == model:
                return file
        raise NotFound(
            f"no spec in {self.folder} is of a model “{model}”",
            hint=did_you_mean(model, names, kind="models"),
        )

    def spec(self, model: str | None = None) -> Spec:
        """Return the spec of a model that is trained; without a name, the only one."""
        found = self.file(model).spec
        if isinstance(found, GraphSpec):
            raise Invalid(
                f"“{found.model}” is a graph of models: it has no data, and nothing trains it"
            )
        return found

    def where(self, spec: Spec | GraphSpec, key: str = "") -> str:
        """Return ``file:line`` of a key of a spec."""
        return self.file(spec.model).where(key)

    def path(self, relative: str) -> Path:
        """Return a path that a spec names, which is relative to its folder."""
        return self.folder / relative


def load(path: Path | str = ".") -> Project:
    """Read the project in a folder, or the one spec in a file.

    Raises:
        NotFound: If there is no such path, or no spec in the folder.
        SpecInvalid: If a spec is not valid.
        Conflict: If two specs are of one model, or a graph has the name of one.
    """
    path = Path(path).absolute()
    if not path.exists():
        raise NotFound(f"there is no {path}", hint="write one with: setpoint init NAME")
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES))
        if not found:
            raise NotFound(
                f"there is no setpoint file in {path}",
                hint="its name ends in .setpoint.yaml; setpoint init NAME writes one",
            )
    else:
        found = [path]
    files = sorted((read(file) for file in found), key=lambda file: file.spec.model)
    for one, other in pairwise(files):
        if one.spec.model == other.spec.model:
            raise Conflict(
                f"two specs are of the model “{one.spec.model}”",
                where=f"{one.path} and {other.path}",
                hint="rename one of the models",
            )
    folder = path.resolve() if path.is_dir() else path.parent.resolve()
    return Project(
        folder=folder,
        files=tuple(file for file in files if isinstance(file, SpecFile)),
        graph_files=tuple(file for file in files if isinstance(file, GraphFile)),
    )


def function(project: Project, code: str, *, where: str = "") -> Any:
    """Return what ``module:name`` stands for, imported relative to the project's folder.

    The folder's modules come first, then installed ones. A source file that has changed
    since is imported anew, together with those that use it.

    Args:
        project: The project.
        code: ``module:name``; dots go into packages and classes.
        where: The key that names it, ``file:line``, for the message.

    Raises:
        NotFound: If there is no such module or name.
        Invalid: If it is not callable, or the module hides an installed one.
        UserCodeFailed: If importing the module fails.
    """
    module_name, _, attribute = code.partition(":")
    space = modules.space(project.folder)
    hidden = space.clashes(module_name)
    if hidden is not None:
        raise Invalid(
            f"{module_name.partition('.')[0]}.py has the name of a module of {hidden}",
            where=where or str(project.folder),
            hint="rename the file, and its mentions in the spec",
        )
    _must_exist(project, space, module_name, where)
    provide_openmp()  # their code may import LightGBM
    found: Any = _run(code, lambda: space.load(module_name), project.folder)
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(found) if not name.startswith("_")]
            raise NotFound(
                f"{module_name} has no “{part}”",
                where=where or str(getattr(found, "__file__", module_name)),
                hint=did_you_mean(part, names),
            )
        found = getattr(found, part)
    if not callable(found):
        raise Invalid(f"{code} is no function but {type(found).__name__}", where=where)
    return found


def active(project: Project) -> AbstractContextManager[None]:
    """Return a context in which the project's modules can be imported.

    `function` and `call_by_name` enter it themselves. What else runs the project's code
    (feature views, unpickling its classes) does so inside it. Only one project's code
    runs at a time in a process.
    """
    return modules.space(project.folder).active()


def call_by_name(func: Callable[..., Any], available: Mapping[str, Any], *, name: str = "") -> Any:
    """Call a function of the user with the values its parameters name.

    Args:
        func: What `function` returned.
        available: The values there are, by name; those not asked for are left out.
        name: What messages call it; its own name by default.

    Raises:
        Invalid: If it asks for a value there is none of, or cannot be called by name.
        UserCodeFailed: If it raises; `where` is the innermost line of the project.
    """
    name = name or str(getattr(func, "__name__", func))
    given = _wired(func, available, name)
    inner = _innermost(func)
    space = modules.space_of(inner)
    if space is None:
        source = inspect.getsourcefile(inner) if hasattr(inner, "__code__") else None
        return _run(name, lambda: func(**given), Path(source).parent if source else None)
    with space.active():
        return _run(name, lambda: func(**given), space.folder)


def code_of(spec: Spec) -> list[str]:
    """Return every ``module:name`` of a spec, sorted."""
    named = [*spec.features, *spec.data.source.values(), spec.train.code]
    named += [spec.train.baseline or "", spec.business.code if spec.business else ""]
    return sorted({code for code in named if ":" in code and not Path(code).suffix})


def code_hash(project: Project, codes: Iterable[str] | None = None) -> str:
    """Return the hash of the project's source files that functions reach by imports.

    Args:
        project: The project.
        codes: ``module:name`` of the functions; all those its specs name by default.

    Returns:
        ``blake3:…``; it changes with any byte of those files or their paths, and not
        with tests, notes or data.
    """
    if codes is None:
        codes = [code for spec in project.specs for code in code_of(spec)]
    names = {code.partition(":")[0] for code in codes}
    return modules.hash_files(project.folder, modules.reachable(project.folder, names))


def _must_exist(project: Project, space: modules.ModuleSpace, name: str, where: str) -> None:
    if space.has(name):
        return
    top = name.partition(".")[0]
    if space.has(top) or not modules.is_installed(name):
        files = [path.relative_to(project.folder) for path in modules.sources(project.folder)]
        names = [".".join(path.with_suffix("").parts) for path in files]
        raise NotFound(
            f"there is no module “{name}” in {project.folder}",
            where=where,
            hint=did_you_mean(name, names) or f"write {name}.py beside the spec",
        )


def _wired(func: Callable[..., Any], available: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments a function asks for."""
    where = _location(func)
    if inspect.iscoroutinefunction(func):
        raise Invalid(f"{name} is async", where=where, hint="write a plain def")
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        raise Invalid(f"the parameters of {name} cannot be seen", where=where) from None
    given: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise Invalid(f"“{parameter.name}” of {name} has no name for callers", where=where)
        if parameter.kind is parameter.VAR_KEYWORD:
            given = {**available, **given}
        elif parameter.name in available and parameter.kind is not parameter.VAR_POSITIONAL:
            given[parameter.name] = available[parameter.name]
        elif parameter.default is parameter.empty and (
            parameter.kind is not parameter.VAR_POSITIONAL
        ):
            raise Invalid(
                f"{name} asks for “{parameter.name}”, which there is not",
                where=where,
                hint=did_you_mean(parameter.name, available, kind="for it"),
            )
    return given


def _run(name: str, call: Callable[[], Any], folder: Path | None) -> Any:
    """Call the user's code; whatever it raises becomes `UserCodeFailed`."""
    try:
        return call()
    except SetpointError:
        raise
    except SyntaxError as error:
        raise UserCodeFailed(
            f"{name} cannot be read: {error.msg}",
            where=f"{error.filename}:{error.lineno}",
            hint=(error.text or "").strip(),
        ) from error
    except (Exception, SystemExit) as error:  # the border to code we did not write
        raise UserCodeFailed(
            f"{name} raised {_described(error)}",
            where=_place(error, folder),
            hint=_hint(error),
        ) from error


def _described(error: BaseException) -> str:
    text = str(error).strip()
    if len(text) > 2000:
        text = text[:2000] + " …"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException, folder: Path | None) -> str:
    """Return the innermost line of the project in a traceback, with its source."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame
        for frame in frames
        if folder is not None
        and Path(frame.filename).is_relative_to(folder)
        and "site-packages" not in Path(frame.filename).relative_to(folder).parts
    ]
    if not ours:
        return ""
    frame = ours[-1]
    linecache.checkcache(frame.filename)
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    shown = f": {line}" if line else ""
    return f"{frame.filename}:{frame.lineno}, in {frame.name}{shown}"


def _hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        return f"install it (pip install {top}), or write {top}.py beside the spec"
    if isinstance(error, SystemExit):
        return "a function of a project must return or raise, not exit"
    return ""


def _innermost(func: Any) -> Any:
    """Return the function behind decorators, partials, methods and callable objects."""
    for _ in range(20):
        inner = next(
            (
                getattr(func, name)
                for name in ("__wrapped__", "__func__", "func", "function")
                if callable(getattr(func, name, None))
            ),
            None,
        )
        if inner is None:
            break
        func = inner
    return func if hasattr(func, "__code__") else type(func).__call__


def _location(func: Any) -> str:
    code = getattr(_innermost(func), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
