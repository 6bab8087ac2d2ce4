"""The JSON Schema (draft 2020-12) of setpoint files, generated from the structs."""

from typing import Any, Literal, Union

from msgspec import Struct

from setpoint.control.spec import shapes
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.fields import Kind
from setpoint.control.spec.graphs import GraphSpec
from setpoint.control.spec.parse import plain
from setpoint.control.spec.shapes import Key, Shape
from setpoint.control.spec.units import Amount, Rate

_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DURATION = {
    "type": "string",
    "pattern": rf"^\s*({_NUMBER}\s*[a-zµμ]+\s*)+$",
    "examples": ["20ms", "30s", "15m", "6h", "14d", "2w"],
}
_FRACTION = {"type": "number", "minimum": 0, "maximum": 1}
_PERCENT_TEXT = {
    "type": "string",
    "pattern": rf"^\s*{_NUMBER}\s*%\s*$",
    "examples": ["0.1%", "5%", "100%"],
}
_CODE = {
    "type": "string",
    "pattern": r"^[^\s:/]+:[^\s:/]+$",
    "examples": ["flights:train"],
}
_FILE = {
    "type": "string",
    "pattern": r"\.([pP][aA][rR][qQ][uU][eE][tT]|[cC][sS][vV])$",
    "examples": ["data/rows.parquet", "data/rows.csv"],
}
_TEXT = {"type": "string", "minLength": 1}
_KINDS: dict[Kind, dict[str, Any]] = {
    Kind.MODEL: {"type": "string", "pattern": r"^[^\s:/_.\-][^\s:/]*$", "maxLength": 64},
    Kind.NAME: _TEXT,
    Kind.WHICH: {**_TEXT, "examples": ["fraud", "fraud@champion", "fraud:3"]},
    Kind.COLUMN: _TEXT,
    Kind.PATH: _TEXT,
    Kind.CODE: _CODE,
    Kind.SOURCE: {"anyOf": [_FILE, _CODE]},
    Kind.SOURCES: {
        "anyOf": [
            _FILE,
            _CODE,
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"anyOf": [_FILE, _CODE]},
            },
        ]
    },
    Kind.VERSIONS: {
        "anyOf": [
            _TEXT,
            {"type": "integer", "minimum": 1},
            {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
        ],
        "examples": ["latest 2", "all", [1, 4], "champion"],
    },
    Kind.DURATION: _DURATION,
    Kind.PERCENT: {"anyOf": [_PERCENT_TEXT, _FRACTION]},
    Kind.GROWTH: {"anyOf": [_PERCENT_TEXT, {"type": "number", "minimum": 0}]},
    Kind.SIZE: {
        "anyOf": [
            {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*([kKmMgGtT][iI]?)?[bB]\s*$"},
            {"type": "integer", "minimum": 0, "maximum": 2**48},
        ],
        "examples": ["500kB", "10MB", "2GiB"],
    },
    Kind.POSITIVE: {"type": "integer", "minimum": 1, "maximum": 2**32 - 1},
}
_TYPES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    float: {"type": "number"},
    Rate: {
        "type": "string",
        "pattern": rf"^\s*{_NUMBER}\s*(/|per)\s*\S.*$",
        "examples": ["1/month", "2/week", "1/10d"],
    },
    Amount: {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*[0-9][0-9_,]*\s+requests?\s*$"},
            _DURATION,
        ],
        "examples": ["500 requests", "2d"],
    },
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a setpoint file.

    Editors that know it complete keys, show what they mean, and mark unknown ones. It
    accepts whatever the parser accepts as to keys and types; that the keys fit each
    other (a baseline to beat must exist) is the parser's to say.
    """
    groups: dict[str, dict[str, Any]] = {}
    model, graph = _reference(Spec, groups), _reference(GraphSpec, groups)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:setpoint:spec:1",
        "title": "Setpoint file",
        "description": "The promise about a model, or about a graph of models.",
        "type": "object",
        "if": {"required": ["graph"]},
        "then": graph,
        "else": model,
        "$defs": groups,
    }


def _group(struct: type[Struct], groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    keys = shapes.keys(struct)
    properties = {key.name: _property(key, groups) for key in keys}
    required = [key.name for key in keys if key.required]
    return {
        "description": (struct.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _property(key: Key, groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    text = key.doc.meaning[:1].upper() + key.doc.meaning[1:] + "."
    if key.doc.consequence:
        text += f" {key.doc.consequence[:1].upper()}{key.doc.consequence[1:]}."
    described: dict[str, Any] = {"description": text, **_shape(key.shape, groups)}
    if not key.required and key.default is not None and not key.shape.is_group:
        described["default"] = plain(key.default)
    return described


def _shape(shape: Shape, groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if shape.is_group:
        return _reference(shape.base, groups)
    if shape.base is Union:
        return {"anyOf": [_shape(variant, groups) for variant in shape.variants]}
    if shape.base is Literal:
        return {"enum": list(shape.choices)}
    if shape.base is dict and shape.item is not None:
        return {"type": "object", "additionalProperties": _shape(shape.item, groups)}
    if shape.item is not None:
        return {"type": "array", "items": _shape(shape.item, groups)}
    return dict(_KINDS[shape.kind] if shape.kind else _TYPES[shape.base])


def _reference(struct: type[Struct], groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    name = struct.__name__
    if name not in groups:
        groups[name] = {}  # holds the place while its own groups are made
        groups[name] = _group(struct, groups)
    reference = {"$ref": f"#/$defs/{name}"}
    short = shapes.short_key(struct)
    if short is None:
        return reference
    key = next(key for key in shapes.keys(struct) if key.name == short)
    return {"anyOf": [reference, _shape(key.shape, groups)]}
