"""What a compiled model computes, read from its bytes: a line, trees, or neither.

Only the graphs that `flavors.ensemble` and `flavors.sklearn_linear` write are understood. The
wire format is read here, as images have no package for it, and a forest's numbers are
millions: they are decoded by NumPy, all at once.

Source of the numbers of fields: ONNX, ``onnx/onnx.proto``.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setpoint.models.explaining.trees import Trees
from setpoint.models.linear import CONSTANT, GRAPH, SIGMOID, WEIGHTS
from setpoint.models.protocols import Floats

_DTYPES = {1: "<f4", 2: "|u1", 7: "<i8", 11: "<f8"}  #: of TensorProto.DataType
_KEEP = {"Add", "Div", "Mul", "Identity"}  #: what leaves a sum of trees one
_LINKS = {"Sigmoid", "Exp"}  #: what may make a score of it, at the end


class Line(NamedTuple):
    """``rows @ weights + constant``, through a sigmoid or not."""

    weights: Floats
    constant: float
    sigmoid: bool


class _Node(NamedTuple):
    operator: str
    inputs: list[str]
    body: memoryview


def read(data: bytes) -> Line | Trees | None:
    """Return what an ONNX model computes, None where explaining cannot use its structure."""
    graph = next((value for field, value in _fields(memoryview(data)) if field == 7), None)
    if graph is None:
        return None
    fields = list(_fields(graph))
    name = next((str(value, "utf-8") for field, value in fields if field == 2), "")
    if name not in {GRAPH, "trees"}:  # others write their tensors in ways that are not read here
        return None
    nodes = [_node(value) for field, value in fields if field == 1]
    constants = dict(_tensor(value) for field, value in fields if field == 5)
    if name == GRAPH:
        return _line([node.operator for node in nodes], constants)
    return _trees(nodes, constants)


def _line(operators: list[str], constants: dict[str, Any]) -> Line | None:
    if operators[:-1] != ["MatMul", "Add"] or constants.keys() != {WEIGHTS, CONSTANT}:
        return None
    if operators[-1] not in {SIGMOID, "Identity"}:
        return None
    weights = constants[WEIGHTS].reshape(-1).astype(np.float64)
    return Line(weights, float(constants[CONSTANT].reshape(-1)[0]), operators[-1] == SIGMOID)


def _trees(nodes: list[_Node], constants: dict[str, Any]) -> Trees | None:
    operators = [node.operator for node in nodes]
    at = operators.index("TreeEnsemble") if "TreeEnsemble" in operators else -1
    single = operators[:at] == ["Cast", "Cast"]
    steps = [node for node in nodes[at + 1 :] if node.operator != "Identity"]
    link = steps.pop().operator if steps and steps[-1].operator in _LINKS else ""
    if at < 0 or not {step.operator for step in steps} <= _KEEP or not (single or at == 0):
        return None
    held = dict(_attributes(nodes[at].body))
    if held["nodes_modes"].any():  # it compares otherwise than by "at most"
        return None
    factor, offset = 1.0, 0.0
    for node in steps:
        number = next((float(constants[each]) for each in node.inputs if each in constants), 0.0)
        if node.operator == "Add":
            offset += number
        elif node.operator in {"Mul", "Div"}:
            by = number if node.operator == "Mul" else 1.0 / number
            factor, offset = factor * by, offset * by
    true, false = held["nodes_truenodeids"], held["nodes_falsenodeids"]
    return Trees(
        roots=held["tree_roots"],
        feature=held["nodes_featureids"],
        threshold=held["nodes_splits"].astype(np.float64),
        missing_left=held["nodes_missing_value_tracks_true"].astype(np.bool_),
        left=np.where(held["nodes_trueleafs"] == 1, ~true, true),
        right=np.where(held["nodes_falseleafs"] == 1, ~false, false),
        leaf=held["leaf_weights"].astype(np.float64) * factor,
        offset=offset,
        single=single,
        link=link,
    )


def _node(body: memoryview) -> _Node:
    operator, inputs = "", []
    for field, value in _fields(body):
        if field == 1:
            inputs.append(str(value, "utf-8"))
        elif field == 4:
            operator = str(value, "utf-8")
    return _Node(operator, inputs, body)


def _attributes(body: memoryview) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a node that are tensors or lists of whole numbers."""
    for field, value in _fields(body):
        if field != 5:
            continue
        name = ""
        for number, kind, start, end in _spans(value):
            if number == 1:
                name = str(value[start:end], "utf-8")
            elif number == 5:
                yield name, _tensor(value[start:end])[1]
                break
            elif number == 8:  # the first of maybe millions
                yield name, _whole(value[start:end]) if kind == 2 else _run(value[start - 1 :])
                break


def _tensor(body: memoryview) -> tuple[str, NDArray[Any]]:
    name, kind, raw, shape = "", 0, b"", []
    for field, value in _fields(body):
        if field == 1:
            shape.append(value)
        elif field == 2:
            kind = value
        elif field == 8:
            name = str(value, "utf-8")
        elif field == 9:
            raw = value
    return name, np.frombuffer(raw, _DTYPES[kind]).reshape(shape)


def _run(body: memoryview) -> NDArray[np.int64]:
    """Return the numbers of a field that comes again and again, each after its tag."""
    numbers = _whole(body)
    tags = numbers[0::2]
    others = np.flatnonzero(tags != tags[0])
    return numbers[1::2][: others[0] if others.size else len(tags)]


def _whole(body: memoryview) -> NDArray[np.int64]:
    """Return the numbers of seven bits a byte, the last byte of each below 128."""
    data = np.frombuffer(body, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(ends[-1] + 1) - np.repeat(starts, ends - starts + 1)
    parts = (data[: ends[-1] + 1].astype(np.uint64) & 0x7F) << (7 * place).astype(np.uint64)
    return np.add.reduceat(parts, starts).astype(np.int64)


def _fields(body: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a message: bytes as they are, numbers as whole ones."""
    for field, kind, start, end in _spans(body):
        yield field, _varint(body, start)[0] if kind == 0 else body[start:end]


def _spans(body: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and where the value begins and ends, of each field."""
    at, size = 0, len(body)
    while at < size:
        tag, start = _varint(body, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(body, start)
        elif kind == 2:
            length, start = _varint(body, start)
            at = start + length
        else:
            at = start + (8 if kind == 1 else 4)
        yield tag >> 3, kind, start, at


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = body[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, at
        shift += 7
