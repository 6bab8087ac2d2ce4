"""From a setpoint file to a `Spec` and back: every problem at once, with its line."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import blake3
from msgspec import Struct

from setpoint.control.spec import graph_rules, nodes, rules, shapes, units
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.graphs import GraphSpec
from setpoint.control.spec.reader import Problem, Reader
from setpoint.errors import Invalid, NotFound, Unavailable

T = TypeVar("T", bound=Struct)

SHOWN = 10  #: problems reported at once


class SpecInvalid(Invalid):
    """A spec that cannot be; `problems` has each problem with its line."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        problems = sorted(problems, key=lambda problem: problem.line)
        self.problems = tuple(problems)
        first = problems[0]
        if len(problems) == 1:
            super().__init__(first.message, where=_where(file, first.line), hint=first.hint)
            return
        lines = [f"{file} has {len(problems)} problems"]
        for problem in problems[:SHOWN]:
            hint = f" ({problem.hint})" if problem.hint else ""
            lines.append(f"  {_where(file, problem.line)}: {problem.message}{hint}")
        if len(problems) > SHOWN:
            lines.append(f"  … and {len(problems) - SHOWN} more")
        super().__init__("\n".join(lines), where=_where(file, first.line))


class Written(Struct, frozen=True, kw_only=True):
    """What every setpoint file has."""

    path: Path
    lines: dict[str, int]  #: the line of every key that is written, by path

    def where(self, key: str) -> str:
        """Return ``file:line`` of a key, or of the nearest key above it."""
        return _where(str(self.path), _line(self.lines, key))


class SpecFile(Written, frozen=True, kw_only=True):
    """The spec of a model with the file it came from."""

    spec: Spec


class GraphFile(Written, frozen=True, kw_only=True):
    """The spec of a graph with the file it came from."""

    spec: GraphSpec


def read(path: Path) -> SpecFile | GraphFile:
    """Read a setpoint file: that of a graph has the key ``graph``.

    Raises:
        NotFound: If there is no such file.
        Unavailable: If it cannot be opened.
        SpecInvalid: If it is no valid spec; the message lists up to ten problems.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {path}", hint="write one with: setpoint init NAME"
        ) from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
    root = _root(data, str(path))
    if any(key.text == "graph" for key, _ in root.pairs):
        graph, lines = _settle_graph(root, str(path))
        return GraphFile(spec=graph, path=path, lines=lines)
    spec, lines = _settle(root, str(path))
    return SpecFile(spec=spec, path=path, lines=lines)


def parse(data: bytes | str, file: str = "spec") -> Spec:
    """Read a spec from YAML; `file` is its name in messages.

    Raises:
        SpecInvalid: If it is no valid spec.
    """
    root = _root(data.encode() if isinstance(data, str) else data, file)
    return _settle(root, file)[0]


def from_document(document: Mapping[str, Any], file: str = "spec") -> Spec:
    """Read a spec from plain values, as `to_document` or JSON gives them.

    Raises:
        SpecInvalid: If it is no valid spec.
    """
    return _settle(_root(document, file), file)[0]


def graph_from_document(document: Mapping[str, Any], file: str = "spec") -> GraphSpec:
    """Read the spec of a graph from plain values, as `to_document` or JSON gives them.

    Raises:
        SpecInvalid: If it is no valid spec.
    """
    return _settle_graph(_root(document, file), file)[0]


def to_document(spec: Struct) -> dict[str, Any]:
    """Return the whole of a spec as plain values, every default included.

    Durations, rates and amounts are text (``14d``), percentages fractions; keys that
    are not set are left out. `from_document` reads it back as an equal spec.
    """
    document = {}
    for key in shapes.keys(type(spec)):
        value = getattr(spec, key.attribute)
        if value is not None:
            document[key.name] = plain(value)
    return document


def canonical(spec: Spec | GraphSpec) -> bytes:
    """Return the spec as canonical JSON: all keys, sorted, no blanks, UTF-8."""
    return json.dumps(
        to_document(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def from_canonical(data: bytes) -> Spec:
    """Read what `canonical` wrote; keys added since take their defaults."""
    return from_document(json.loads(data))


def hash_of(spec: Spec | GraphSpec) -> str:
    """Return the identity of a spec: ``blake3:`` and the hash of its canonical form."""
    return "blake3:" + blake3.blake3(canonical(spec)).hexdigest()


def _root(said: bytes | Mapping[str, Any], file: str) -> nodes.Node:
    """Return the root of YAML, or of plain values."""
    try:
        return nodes.from_yaml(said) if isinstance(said, bytes) else nodes.from_python(said)
    except nodes.Unreadable as error:
        raise _unreadable(error, file) from None


def _settle(root: nodes.Node, file: str) -> tuple[Spec, dict[str, int]]:
    return _settled(Spec, rules.findings, root, file)


def _settle_graph(root: nodes.Node, file: str) -> tuple[GraphSpec, dict[str, int]]:
    return _settled(GraphSpec, graph_rules.findings, root, file)


def _settled(
    struct: type[T], findings: Callable[[T], list[rules.Finding]], root: nodes.Node, file: str
) -> tuple[T, dict[str, int]]:
    reader = Reader(struct)
    spec = reader.read(shapes.Shape(base=struct), root, "")
    if not isinstance(spec, struct):
        raise SpecInvalid(file, reader.problems)
    problems = [
        Problem(line=_line(reader.lines, path), path=path, message=message, hint=hint)
        for path, message, hint in findings(spec)
    ]
    if problems:
        raise SpecInvalid(file, problems)
    return spec, reader.lines


def _unreadable(error: nodes.Unreadable, file: str) -> SpecInvalid:
    problem = Problem(line=error.line, path="", message=error.message, hint=error.hint)
    return SpecInvalid(file, [problem])


def _line(lines: dict[str, int], path: str) -> int:
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return lines.get(path, 0)


def _where(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


def plain(value: object) -> Any:
    """Return a value of a spec as JSON knows it."""
    if isinstance(value, timedelta):
        return units.format_duration(value)
    if isinstance(value, units.Rate | units.Amount):
        return str(value)
    if isinstance(value, Struct):
        return to_document(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
