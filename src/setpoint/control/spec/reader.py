"""Reads nodes into the structs of a spec, going by their types, and notes every problem."""

import math
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Literal, Union

from msgspec import Struct

from setpoint.control.spec import shapes, units
from setpoint.control.spec.fields import Kind
from setpoint.control.spec.names import bad_model_name, is_code, stem
from setpoint.control.spec.nodes import Node
from setpoint.control.spec.shapes import Key, Shape
from setpoint.control.spec.suggest import did_you_mean, nearest
from setpoint.errors import Invalid
from setpoint.serve import naming

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
FILES = (".parquet", ".csv")


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a spec."""

    line: int  #: 0 where there is no file
    path: str  #: of the key, such as ``release.canary.steps[1]``
    message: str
    hint: str


class _Bad:
    """Stands for a value that could not be read; its problem is noted."""


BAD: Final = _Bad()


class Reader:
    """Reads one document; `problems` and `lines` fill up as it goes."""

    def __init__(self, root: type[Struct]) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}  #: the line of every key that is written

    def read(self, shape: Shape, node: Node, path: str) -> Any:
        """Return the value of `node`, or `BAD`."""
        self.lines.setdefault(path, node.line)
        if node.kind == "null":
            return self.bad(node, path, f"{path} has no value", "give one or remove the key")
        if shape.base is Union:
            return self.read(_choose(shape.variants, node), node, path)
        if shape.is_group:
            return self._struct(shape.base, node, path)
        if shape.base is tuple:
            return self._tuple(shape, node, path)
        if shape.base is dict and shape.item is not None:
            return self._map(shape.item, node, path)
        if shape.kind is Kind.SOURCES:
            return self._sources(node, path)
        if shape.kind is Kind.VERSIONS:
            return self._versions(node, path)
        return self._scalar(shape, node, path)

    def bad(self, node: Node, path: str, message: str, hint: str = "") -> Any:
        """Note a problem."""
        self.problems.append(Problem(line=node.line, path=path, message=message, hint=hint))
        return BAD

    def _struct(self, struct: type[Struct], node: Node, path: str) -> Any:
        known = {key.name: key for key in shapes.keys(struct)}
        short = shapes.short_key(struct)
        if node.kind != "map":
            if short is not None and node.kind != "list":
                value = self.read(known[short].shape, node, f"{path}.{short}")
                return BAD if value is BAD else struct(**{short: value})
            return self.bad(
                node,
                path,
                f"{path or 'a spec'} is {node.described}, not a group of keys",
                f"write keys under it: {_listed(known)}",
            )
        before = len(self.problems)
        values: dict[str, Any] = {}
        meant: set[str] = set()
        for name, child, where in self._pairs(node, path):
            key = known.get(name)
            if key is None:
                meant.add(self._unknown(child, where, name, struct) or "")
            else:
                meant.add(name)
                values[key.attribute] = self.read(key.shape, child, where)
        self._missing(struct, node, path, meant)
        return struct(**values) if len(self.problems) == before else BAD

    def _pairs(self, node: Node, path: str) -> list[tuple[str, Node, str]]:
        """Return the keys of a map with their values and paths; note the repeated ones."""
        seen: dict[str, int] = {}
        pairs = []
        for key, value in node.pairs:
            name = key.text
            where = f"{path}.{name}" if path else name
            if key.kind in {"map", "list"}:
                self.bad(key, path, f"{key.described} stands where a key belongs", "")
            elif name in seen:
                self.bad(
                    key,
                    where,
                    f"{where} is there twice (first in line {seen[name]})",
                    "keep one of them",
                )
            else:
                seen[name] = key.line
                self.lines[where] = key.line
                pairs.append((name, value, where))
        return pairs

    def _unknown(self, node: Node, path: str, name: str, struct: type[Struct]) -> str | None:
        """Note an unknown key; return the one it was likely meant to be."""
        known = [key.name for key in shapes.keys(struct)]
        hint, near = did_you_mean(name, known), nearest(name, known)
        if near is None:
            home = next(shapes.homes(self.root, name), None)
            if home is not None:
                hint = f"it belongs {f'under “{home}”' if home else 'at the top level'}"
        line = self.lines.get(path, node.line)
        self.problems.append(
            Problem(line=line, path=path, message=f"unknown key “{path}”", hint=hint)
        )
        return near

    def _missing(self, struct: type[Struct], node: Node, path: str, there: set[str]) -> None:
        for key in shapes.keys(struct):
            if key.required and key.name not in there:
                where = f"{path}.{key.name}" if path else key.name
                hint = f"add “{key.name}: {_example(key)}”: {key.doc.meaning}"
                self.bad(node, where, f"{where} is missing", hint)

    def _tuple(self, shape: Shape, node: Node, path: str) -> Any:
        if node.kind != "list":
            shown = node.text or "…"
            return self.bad(
                node,
                path,
                f"{path} is {node.described}, not a list",
                f"write it in brackets: [{shown}]",
            )
        assert shape.item is not None  # noqa: S101 - every tuple has an item type
        item = shape.item
        read = [self.read(item, n, f"{path}[{i}]") for i, n in enumerate(node.items)]
        return BAD if any(value is BAD for value in read) else tuple(read)

    def _map(self, item: Shape, node: Node, path: str) -> Any:
        if node.kind != "map":
            return self.bad(
                node, path, f"{path} is {node.described}, not values by name", "write name: value"
            )
        before = len(self.problems)
        pairs = self._pairs(node, path)
        found = {name: self.read(item, child, where) for name, child, where in pairs}
        return found if len(self.problems) == before else BAD

    def _sources(self, node: Node, path: str) -> Any:
        item = Shape(base=str, kind=Kind.SOURCE)
        if node.kind != "map":
            value = self._scalar(item, node, path)
            return BAD if value is BAD else {stem(value): value}
        if not node.pairs:
            return self.bad(node, path, f"{path} names no source", "name at least one")
        sources: dict[str, Any] = {}
        for name, child, where in self._pairs(node, path):
            if not _IDENTIFIER.fullmatch(name):
                hint = "use letters, digits and “_”: functions take it as a parameter"
                self.bad(child, where, f"“{name}” cannot be the name of a source", hint)
            sources[name] = self.read(item, child, where)
        return sources

    def _versions(self, node: Node, path: str) -> Any:
        words = node.items if node.kind == "list" else [node]
        if any(word.kind in {"map", "list", "odd", "null"} for word in words):
            hint = "write such as latest 2, all, [1, 4] or champion"
            return self.bad(node, path, f"{path} is {node.described}, not versions", hint)
        try:
            return naming.written(naming.read(", ".join(word.text for word in words)))
        except Invalid as error:
            return self.bad(node, path, f"{path}: {error.message}", error.hint)

    def _scalar(self, shape: Shape, node: Node, path: str) -> Any:
        if node.kind in {"map", "list", "odd"}:
            wanted = _wanted(shape)
            hint = "quote it if it is meant as text" if node.kind == "odd" else ""
            return self.bad(node, path, f"{path} is {node.described}, not {wanted}", hint)
        try:
            return _READERS[_reader_of(shape)](shape, node)
        except units.BadUnit as error:
            return self.bad(node, path, f"{path}: {error.message}", error.hint)


def _choose(variants: tuple[Shape, ...], node: Node) -> Shape:
    """Pick the type of a union that a value was most likely meant for."""

    def fits(shape: Shape) -> bool:
        if node.kind in {"map", "list"}:
            return shape.base is tuple
        if shape.kind is Kind.PERCENT:
            return node.kind in {"int", "float"} or "%" in node.text
        if shape.kind is Kind.DURATION:
            return node.kind == "text" and node.text[:1].isdigit() and "%" not in node.text
        return shape.base is not tuple

    return next((shape for shape in variants if fits(shape)), variants[0])


def _text(shape: Shape, node: Node) -> str:
    if node.kind != "text":
        raise units.BadUnit(f"{node.described} is not text", f"quote it: '{node.text}'")
    text = str(node.value)
    if not text.strip() and shape.kind is not None:
        raise units.BadUnit("it is empty", f"write {_wanted(shape)}")
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise units.BadUnit("it has a character that is no text", "remove it")
    check = _TEXTS.get(shape.kind) if shape.kind else None
    if check is not None:
        check(text)
    return text


def _check_model(text: str) -> None:
    wrong = bad_model_name(text)
    if wrong is not None:
        raise units.BadUnit(f"“{text[:80]}” cannot be the name of a model", wrong)


def _check_code(text: str) -> None:
    if is_code(text):
        return
    fixed = text.replace("/", ".").replace(".py:", ":").replace("::", ":").lstrip(".")
    if ":" not in fixed and "." in fixed:
        fixed = ":".join(fixed.rsplit(".", 1))
    hint = "write module:function, such as flights:train"
    if is_code(fixed):
        hint = f"did you mean “{fixed}”?"
    raise units.BadUnit(f"“{text[:80]}” is not a function of the project", hint)


def _check_source(text: str) -> None:
    if not is_code(text) and not text.lower().endswith(FILES):
        raise units.BadUnit(
            f"“{text[:80]}” is neither a parquet or CSV file nor a function",
            "write data/rows.parquet, data/rows.csv or module:function",
        )


_TEXTS: dict[Kind, Callable[[str], None]] = {
    Kind.MODEL: _check_model,
    Kind.CODE: _check_code,
    Kind.SOURCE: _check_source,
}


def _literal(shape: Shape, node: Node) -> str:
    if node.kind == "text" and node.value in shape.choices:
        return str(node.value)
    hint = did_you_mean(node.text, shape.choices)
    raise units.BadUnit(f"“{node.text[:40]}” is not one of the choices", hint)


def _bool(_: Shape, node: Node) -> bool:
    if not isinstance(node.value, bool):
        raise units.BadUnit(f"{node.described} is not true or false", "write true or false")
    return node.value


def _int(shape: Shape, node: Node) -> int:
    least = 1 if shape.kind is Kind.POSITIVE else 0
    most = 2**48 if shape.kind is Kind.SIZE else 2**32 - 1
    if not isinstance(node.value, int) or isinstance(node.value, bool):
        raise units.BadUnit(f"{node.described} is not a whole number", "write such as 7")
    if not least <= node.value <= most:
        hint = f"it lies between {least} and {most}"
        raise units.BadUnit(f"{node.text[:40]} is out of range", hint)
    return node.value


def _float(_: Shape, node: Node) -> float:
    value = node.value
    if node.kind == "text" and _NUMBER.fullmatch(node.text) and len(node.text) <= 40:
        value = float(node.text)  # 1e-3 is text to YAML 1.1
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise units.BadUnit(f"{node.described} is not a number", "write such as 0.7")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise units.BadUnit(f"{node.text[:40]} is not a finite number", "write such as 0.7")
    return number


def _percent(shape: Shape, node: Node) -> float:
    most = 1.0 if shape.kind is Kind.PERCENT else 1e6
    if node.kind == "text" and not _NUMBER.fullmatch(node.text):
        return units.parse_percent(node.text, most=most)
    return units.parse_percent(_float(shape, node), most=most)


def _size(shape: Shape, node: Node) -> int:
    if node.kind == "text":
        return units.parse_size(node.text.strip())
    return _int(shape, node)  # bytes, as in the canonical form


def _quantity(parse: Callable[[str], Any], like: str) -> Callable[[Shape, Node], Any]:
    def read(_: Shape, node: Node) -> Any:
        if isinstance(node.value, timedelta):
            return node.value
        if node.kind != "text":
            raise units.BadUnit(f"{node.described} has no unit", f"write such as {like}")
        return parse(node.text.strip())

    return read


_READERS: dict[str, Callable[[Shape, Node], Any]] = {
    "str": _text,
    "choice": _literal,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "percent": _percent,
    "size": _size,
    "duration": _quantity(units.parse_duration, "30d, 6h or 20ms"),
    "rate": _quantity(units.parse_rate, "1/month"),
    "amount": _quantity(units.parse_amount, "500 requests or 2d"),
}
_BASES = {
    str: "str", bool: "bool", int: "int", float: "float",
    timedelta: "duration", units.Rate: "rate", units.Amount: "amount",
}  # fmt: skip


def _reader_of(shape: Shape) -> str:
    if shape.base is Literal:
        return "choice"
    if shape.kind in {Kind.PERCENT, Kind.GROWTH}:
        return "percent"
    if shape.kind is Kind.SIZE:
        return "size"
    return _BASES[shape.base]


def _wanted(shape: Shape) -> str:
    """Name a type for a message."""
    if shape.base is Literal:
        return "one of " + ", ".join(shape.choices)
    words = {
        "str": "text", "bool": "true or false", "int": "a whole number",
        "float": "a number", "percent": "a percentage such as 5%",
        "duration": "a duration such as 14d", "rate": "a rate such as 1/month",
        "amount": "a number of requests or a duration", "size": "a size such as 10MB",
    }  # fmt: skip
    return f"a {shape.kind}" if shape.base is str and shape.kind else words[_reader_of(shape)]


def _example(key: Key) -> str:
    examples = {
        Kind.MODEL: "my-model",
        Kind.CODE: "module:function",
        Kind.SOURCES: "data/rows.csv",
        Kind.DURATION: "20ms",
        Kind.PERCENT: "1%",
    }
    if key.shape.base is tuple:
        return "[…]"
    if key.shape.is_group:
        first = next((k for k in shapes.keys(key.shape.base) if k.required), None)
        return "{" + f"{first.name}: {_example(first)}" + "}" if first else "{…}"
    return examples.get(key.shape.kind, "…") if key.shape.kind else "…"


def _listed(known: dict[str, Key]) -> str:
    return ", ".join(list(known)[:12]) + (", …" if len(known) > 12 else "")
