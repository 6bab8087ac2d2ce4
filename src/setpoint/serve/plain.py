"""The request that comes most, answered in one function: a matrix of numbers, one version.

What a request means is said in `v2` and `scoring`; this says the same of the plain ones among
them, with nothing between the bytes and the score that such a request does not need. The code
that a request runs through, and not its arithmetic, is what it costs: caches are cold when it
comes. Whatever is not plain is left to the long way before anything happened.
"""

from time import perf_counter_ns
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from setpoint.serve import v2
from setpoint.serve.endpoints import Endpoint, ModelFailed
from setpoint.serve.outputs import SCORE
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


_decode = msgspec.json.Decoder(PlainRequest).decode


def read(body: bytes, inputs: v2.Inputs) -> tuple[PlainRequest, v2.Rows] | None:
    """Return a plain request and its rows, None if `v2` should look at it."""
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if request.parameters is not None and request.parameters.binary_data_output:
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
    return request, v2.Rows(count, np.array(tensor.data).reshape(count, width), {})


def encoded(model: str, part: Part, request_id: str, parameters: v2.AnswerParameters) -> bytes:
    """Return the answer to a plain request that one version scored."""
    scores: list[float] = part.scores.tolist()  # type: ignore[union-attr]
    output = v2.Output(SCORE, [len(scores)], "FP64", scores)
    return v2.encode(v2.InferAnswer(model, str(part.version), request_id, parameters, [output]))


def score(endpoint: Endpoint, rows: v2.Rows, keys: list[str]) -> Part | None:
    """Score rows that all go to one version, None if they do not or if it fails."""
    arm, role = endpoint.live, 0
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
    return Part(role, rows, None, scores, arm.version, nanos)
