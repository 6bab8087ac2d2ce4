"""The request that comes most, answered in one function: a matrix of numbers, one version.

What a request means is said in `v2` and `scoring`; this says the same of the plain ones among
them, with nothing between the bytes and the score that such a request does not need. The code
that a request runs through, and not its arithmetic, is what it costs: caches are cold when it
comes. Whatever is not plain is left to the long way before anything happened.
"""

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from setpoint.serve import v2
from setpoint.serve.arms import ModelFailed
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import PredictionRecord
from setpoint.serve.numbers import packed
from setpoint.serve.outputs import SCORE
from setpoint.serve.prediction import Asked
from setpoint.serve.protocols import Floats
from setpoint.serve.rules import ROLES
from setpoint.serve.scoring import Part


class Matrix(Struct, gc=False):
    """The one tensor, ``[n, k]``, its data flat and without null."""

    name: str
    shape: tuple[int, int]
    datatype: Literal["FP64", "FP32"]
    data: list[float]


class PlainRequest(Struct, gc=False):
    inputs: Annotated[list[Matrix], Meta(min_length=1, max_length=1)]
    id: str | None = None
    parameters: v2.Parameters | None = None
    outputs: None = None


class _Size(Struct, gc=False):
    binary_data_size: int


class RawMatrix(Struct, gc=False):
    """The one tensor, ``[n, k]``, its data behind the JSON."""

    name: str
    shape: tuple[int, int]
    datatype: Literal["FP64", "FP32"]
    parameters: _Size


class RawRequest(Struct, gc=False):
    inputs: Annotated[list[RawMatrix], Meta(min_length=1, max_length=1)]
    id: str | None = None
    parameters: v2.Parameters | None = None
    outputs: Annotated[list[v2.OutputAsked], Meta(max_length=1)] | None = None


class _RawOutput(Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Size


class _RawAnswer(Struct):
    model_name: str
    model_version: str
    id: str
    parameters: v2.AnswerParameters
    outputs: list[_RawOutput]


class Scored(NamedTuple):
    """Rows that one version scored."""

    role: int  #: see `rules.ROLES`
    version: int
    scores: Floats
    nanos: int  #: how long that took

    def part(self, rows: v2.Rows) -> Part:
        """Return the same as the long way has it."""
        return Part(self.role, rows, None, self.scores, self.version, self.nanos)


_ROLES = [bytes((role,)) for role in range(len(ROLES))]
_decode = msgspec.json.Decoder(PlainRequest).decode
_decode_raw = msgspec.json.Decoder(RawRequest).decode
_DTYPES: dict[str, np.dtype[Any]] = {"FP64": np.dtype("<f8"), "FP32": np.dtype("<f4")}


def read(body: bytes, inputs: v2.Inputs) -> tuple[PlainRequest, v2.Rows] | None:
    """Return a plain request and its rows, None if `v2` should look at it."""
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    parameters = request.parameters
    if parameters is not None and (parameters.binary_data_output or parameters.route):
        return None
    tensor = request.inputs[0]
    count, width = tensor.shape
    if (
        width != len(inputs.specs)
        or count < 1
        or width == 1  # then the name decides whether it is a matrix or a column
        or len(tensor.data) != count * width
    ):
        return None
    values = packed(tensor.data, count, width)
    return None if values is None else (request, v2.Rows(count, values, {}))


def read_raw(body: bytes, json: int, inputs: v2.Inputs) -> tuple[RawRequest, v2.Rows] | None:
    """Return a plain request whose matrix is raw bytes behind `json` bytes of JSON, as `read`."""
    try:
        request = _decode_raw(memoryview(body)[:json])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if request.outputs and not _is_plain(request.outputs[0]):
        return None
    if request.parameters is not None and request.parameters.route:
        return None
    tensor = request.inputs[0]
    count, width = tensor.shape
    dtype = _DTYPES[tensor.datatype]
    size = len(body) - json
    if (
        width != len(inputs.specs)
        or count < 1
        or width == 1
        or tensor.parameters.binary_data_size != size
        or size != count * width * dtype.itemsize
    ):
        return None
    values = np.frombuffer(body, dtype, offset=json).reshape(count, width)
    return request, v2.Rows(count, values.astype(np.float64), {})  # a copy that can be written to


def _is_plain(asked: v2.OutputAsked) -> bool:
    return asked.name == SCORE and not (asked.parameters and asked.parameters.classification)


def is_raw_wanted(request: PlainRequest | RawRequest) -> bool:
    """Tell whether the score is to be raw bytes, too; see `v2_binary.is_wanted`."""
    if request.outputs:
        parameters = request.outputs[0].parameters
        if parameters is not None and parameters.binary_data is not None:
            return parameters.binary_data
    return request.parameters is not None and request.parameters.binary_data_output


def encoded_raw(asked: Asked, scored: Scored) -> tuple[bytes, int]:
    """Return the answer as `encoded`, its scores as raw bytes, and the length of its JSON."""
    raw = scored.scores.tobytes()
    output = _RawOutput(SCORE, [len(raw) // 8], "FP64", _Size(len(raw)))
    head = v2.encode(_RawAnswer(*_head(asked, scored), [output]))
    return head + raw, len(head)


def encoded(asked: Asked, scored: Scored) -> bytes:
    """Return the answer to a plain request that one version scored."""
    scores: list[float] = scored.scores.tolist()
    output = v2.Output(SCORE, [len(scores)], "FP64", scores)
    return v2.encode(v2.InferAnswer(*_head(asked, scored), [output]))


def _head(asked: Asked, scored: Scored) -> tuple[str, str, str, v2.AnswerParameters]:
    """Return model, version, id and parameters of the answer."""
    parameters = v2.AnswerParameters(asked.ids, [scored.version] * len(asked.ids))
    return asked.endpoint.model, str(scored.version), asked.request_id, parameters


def score(endpoint: Endpoint, rows: v2.Rows, keys: Sequence[str]) -> Scored | None:
    """Score rows that all go to one version, None if they do not or if it fails."""
    arm, role = endpoint.live, endpoint.role
    if endpoint.route is not None and endpoint.canary is not None:
        canaries = endpoint.route(keys).count(1)
        if 0 < canaries < rows.count:
            return None
        if canaries:
            arm, role = endpoint.canary, 1
    began = perf_counter_ns()
    try:
        scores = arm.score(rows)
    except ModelFailed:
        return None
    nanos = perf_counter_ns() - began
    endpoint.took(nanos)
    return Scored(role, arm.version, scores, nanos)


def record(asked: Asked, scored: Scored, micros: int) -> PredictionRecord:
    """Return the line of the log, as `scoring.record` does."""
    endpoint, rows = asked.endpoint, asked.rows
    return PredictionRecord(
        at_us=asked.at_us,
        model=endpoint.model,
        request_id=asked.request_id,
        ids=asked.ids,
        versions=[scored.version] * rows.count,
        roles=_ROLES[scored.role] * rows.count,
        columns=endpoint.inputs.numeric,
        values=rows.values.tobytes(),
        scores=scored.scores.tobytes(),
        micros=micros,
    )
