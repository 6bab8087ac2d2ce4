"""Scoring with a compiled (ONNX) model."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from setpoint.config import without_telemetry
from setpoint.errors import Invalid, MissingExtra
from setpoint.models import linear
from setpoint.models.entities import Input, Output, Signature
from setpoint.models.flavors.answers import answering
from setpoint.models.protocols import Ask, Floats, Rows
from setpoint.models.rows import by_name, matrix, number, text


def scorer(data: bytes, signature: Signature) -> Ask:
    """Return what answers rows with an ONNX model whose output is the signature's `sole` one.

    It returns scores [n] or, where the signature has an array in their place, that by name.
    One thread, no telemetry. One row of 30 features through 200 trees takes about 6 µs, of
    which 2 are Python's.

    Raises:
        Invalid: If the bytes are no model that can be run, or the signature has several outputs.
        MissingExtra: If ONNX Runtime is not installed.
    """
    if signature.sole is None:
        raise Invalid("the compiled model has one output, and the version several")
    runs = session(data)
    if signature.numeric and runs.get_modelmeta().graph_name == linear.GRAPH:
        known = linear.read(data)
        if known is not None:
            return _exact(known, signature)
    wanted = runs.get_inputs()
    make = _whole if signature.numeric and len(wanted) == 1 else _apart
    answer = make(_asker(runs.run, signature.sole), wanted, signature)
    return answering(answer, signature) if signature.outputs else answer


def _asker(run: Callable[..., Any], output: Output) -> Callable[[dict[str, Any]], Any]:
    """Return what runs a session for its one output: [n] of a score, else [n, k]."""
    names, shape = [output.name], (-1, *output.shape)

    def ask(feed: dict[str, Any]) -> Any:
        try:
            return run(names, feed)[0].reshape(shape)
        except Exception as error:  # noqa: BLE001 - as below
            raise Invalid(
                "the model refuses these rows", where=str(error).partition("Message: ")[2][:200]
            ) from None

    return ask


def session(data: bytes) -> Any:
    """Return a session of ONNX Runtime: one thread, no telemetry, nothing printed.

    Raises:
        Invalid: If the bytes are no model that it can run.
        MissingExtra: If it is not installed.
    """
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it refuses is raised, not printed too
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its exceptions share no public base
        raise Invalid("the compiled model cannot be loaded", where=str(error)[:300]) from None


_DOUBLE = np.dtype(np.float64)
_AT_ONCE = 256  #: rows: on its way, a forest of several classes has a number a row, tree and class


def _whole(ask: Callable[..., Any], wanted: list[Any], signature: Signature) -> Ask:
    name = wanted[0].name
    kind = np.dtype(np.float64 if wanted[0].type == "tensor(double)" else np.float32)

    def score(rows: Any) -> Floats:
        if not len(rows):
            return np.empty(0)
        found: Floats = ask({name: rows})
        return found

    def several(rows: Any) -> Floats:
        if len(rows) <= _AT_ONCE:
            return score(rows)
        blocks = range(0, len(rows), _AT_ONCE)
        return np.concatenate([score(rows[at : at + _AT_ONCE]) for at in blocks])

    return _exact(several if signature.outputs else score, signature, kind)


def _exact(score: Ask, signature: Signature, kind: Any = _DOUBLE) -> Ask:
    """Return `score` given rows as they must be: a contiguous matrix of one dtype."""
    width = len(signature.inputs)

    def exact(rows: Rows) -> Any:
        if (
            type(rows) is not np.ndarray
            or rows.dtype is not kind
            or rows.ndim != 2
            or rows.shape[1] != width
            or not rows.flags.c_contiguous
        ):
            rows = np.ascontiguousarray(matrix(rows, signature), dtype=kind)
        return score(rows)

    return exact


def _apart(ask: Callable[..., Any], wanted: list[Any], signature: Signature) -> Ask:
    kinds = {each.name: each.type for each in wanted}
    inputs = [each for each in signature.inputs if each.name in kinds]

    def column(each: Input, values: Any) -> Any:
        if not each.numeric:
            return _filled(values)
        kind = np.float64 if kinds[each.name] == "tensor(double)" else np.float32
        return number(values, each).astype(kind, copy=False)

    def score(rows: Rows) -> Floats:
        held = by_name(rows, signature)
        columns = {each.name: column(each, held[each.name]) for each in inputs}
        if not all(len(column) for column in columns.values()):
            return np.empty(0)
        found: Floats = ask({name: columns[name].reshape(-1, 1) for name in columns})
        return found

    return score


def _filled(values: Any) -> Any:
    """Return text with the empty string for None: ONNX knows no null."""
    found = text(values).copy()
    found[[each is None for each in found]] = ""
    return found


@cache
def _onnxruntime() -> Any:
    without_telemetry()
    try:
        import onnxruntime  # noqa: PLC0415 - 0.2 s, and only where a compiled model serves
    except ImportError:
        raise MissingExtra(
            "compiled models need ONNX Runtime", hint="pip install 'setpoint[onnx]'"
        ) from None
    onnxruntime.disable_telemetry_events()
    return onnxruntime
