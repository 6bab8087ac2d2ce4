"""A document as nodes that know their line, from YAML bytes or from Python values."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal

import yaml
from msgspec import Struct

LARGEST = 1_000_000  #: bytes of a setpoint file
DEEPEST = 40
MOST = 20_000  #: nodes, with aliases counted each time they are used

NodeKind = Literal["map", "list", "text", "int", "float", "bool", "null", "odd"]

_TAGS: dict[str, NodeKind] = {
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "int",
    "tag:yaml.org,2002:float": "float",
    "tag:yaml.org,2002:bool": "bool",
    "tag:yaml.org,2002:null": "null",
}


class Node(Struct, frozen=True, kw_only=True):
    """One value of a document."""

    kind: NodeKind
    line: int = 0  #: from 1; 0 where there is no file
    text: str = ""  #: as written, for scalars
    value: object = None  #: of a scalar, as a Python value
    items: tuple["Node", ...] = ()  #: of a list
    pairs: tuple[tuple["Node", "Node"], ...] = ()  #: of a map, in order

    @property
    def described(self) -> str:
        """What it is, in words for a message."""
        if self.kind in {"text", "int", "float", "bool"}:
            kinds = {"text": "text", "bool": "true/false"}
            shown = self.text if len(self.text) <= 40 else self.text[:39] + "…"
            return f"“{shown}” ({kinds.get(self.kind, 'a number')})"
        return {
            "map": "a group of keys",
            "list": "a list",
            "null": "nothing",
            "odd": f"“{self.text[:40]}” (neither text nor a number)",
        }[self.kind]


class Unreadable(ValueError):
    """It is no document at all: where, what, and what to do."""

    def __init__(self, line: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.hint = hint


def from_yaml(data: bytes) -> Node:
    """Read YAML.

    Raises:
        Unreadable: If it is not UTF-8, not YAML, empty, too large or too deeply nested.
    """
    if len(data) > LARGEST:
        raise Unreadable(0, "it is larger than 1 MB", "is this really a setpoint file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Unreadable(
            line, "it is not UTF-8 text", "save the file with the encoding UTF-8"
        ) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _syntax(error, text) from None
    except RecursionError:
        raise Unreadable(0, "it is nested too deeply", "a spec has few levels") from None
    if root is None:
        raise Unreadable(
            1,
            "the file is empty",
            "three keys make a spec: model, data: {source: …} and train: {code: …}",
        )
    return _Builder().build(root, 0)


def _syntax(error: yaml.YAMLError, text: str) -> Unreadable:
    """Say in plain words what the YAML reader stumbled on."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:  # a character that YAML forbids
        position = min(int(getattr(error, "position", 0)), len(text))
        line = text.count("\n", 0, position) + 1
        return Unreadable(line, "a character that YAML does not allow", "remove it")
    lines = text.splitlines()
    line = min(mark.line + 1, max(len(lines), 1))
    written = lines[line - 1] if lines else ""
    if "\t" in written[: len(written) - len(written.lstrip())] or "\\t" in str(error):
        return Unreadable(line, "a tab where spaces belong", "indent with spaces only")
    problem = str(getattr(error, "problem", None) or "it does not end where it should")
    if "single document" in str(error):
        return Unreadable(line, "a second document begins here", "one model a file")
    return Unreadable(
        line,
        f"this is not valid YAML: {problem}",
        "check indentation, the space after “:”, quotes and brackets, here and above",
    )


class _Builder:
    """Turns the YAML reader's nodes into ours, within limits."""

    def __init__(self) -> None:
        self.loader = yaml.SafeLoader("")
        self.count = 0

    def build(self, node: yaml.Node, depth: int) -> Node:
        line = node.start_mark.line + 1
        self.count += 1
        if depth > DEEPEST or self.count > MOST:
            raise Unreadable(line, "it is nested too deeply or too large", "simplify it")
        if isinstance(node, yaml.MappingNode):
            pairs = tuple(
                (self.build(key, depth + 1), self.build(value, depth + 1))
                for key, value in node.value
            )
            return Node(kind="map", line=line, pairs=pairs)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.build(item, depth + 1) for item in node.value)
            return Node(kind="list", line=line, items=items)
        return self._scalar(node, line)

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Node:
        kind = _TAGS.get(node.tag, "odd")
        value: object = node.value
        if kind in {"int", "float", "bool"}:
            try:
                value = self.loader.construct_object(node)
            except (ValueError, yaml.YAMLError, KeyError):
                kind = "odd"
        return Node(kind=kind, line=line, text=str(node.value), value=value)


def from_python(value: object, depth: int = 0) -> Node:
    """Read dicts, lists and scalars; functions stand for their ``module:name``."""
    if depth > DEEPEST:
        raise Unreadable(0, "it is nested too deeply", "a spec has few levels")
    if isinstance(value, Mapping):
        pairs = tuple(
            (Node(kind="text", text=str(k), value=str(k)), from_python(v, depth + 1))
            for k, v in value.items()
        )
        return Node(kind="map", pairs=pairs)
    if isinstance(value, list | tuple):
        return Node(kind="list", items=tuple(from_python(v, depth + 1) for v in value))
    return _python_scalar(value)


def _python_scalar(value: object) -> Node:
    kinds: dict[type, NodeKind] = {
        type(None): "null", bool: "bool", int: "int", float: "float", str: "text",
    }  # fmt: skip
    kind = kinds.get(type(value))
    if kind is not None:
        return Node(kind=kind, text=str(value), value=value)
    if isinstance(value, PurePath):
        return Node(kind="text", text=str(value), value=str(value))
    if callable(value) and hasattr(value, "__qualname__"):
        name = f"{value.__module__}:{value.__qualname__}"
        return Node(kind="text", text=name, value=name)
    return Node(kind="odd", text=str(value), value=value)
