"""V2's binary tensors: a JSON header, then the raw bytes of tensors one after the other.

Source: the binary tensor data extension of the Open Inference Protocol. Numbers are little-endian
and row-major; a text is its length in four bytes and its bytes.
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.serve import blobs, v2
from setpoint.serve.decoding import read
from setpoint.serve.exchange import Headers, Reply
from setpoint.serve.outputs import plain

HEADER = b"inference-header-content-length"
_RAW = b"application/octet-stream"

_DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "|b1"} | {
    f"{sign}INT{bits}": f"<{code}{bits // 8}"
    for sign, code in (("", "i"), ("U", "u"))
    for bits in (8, 16, 32, 64)
}
_LENGTH = struct.Struct("<I")


class _TensorParameters(Struct):
    binary_data_size: int | None = None


class _Tensor(Struct):
    """A tensor whose data are in the JSON, or behind it."""

    name: str
    shape: list[int]
    datatype: str
    parameters: _TensorParameters | None = None
    data: Any = None


class _Head(Struct):
    inputs: list[_Tensor]
    id: str | None = None
    parameters: v2.Parameters | None = None
    outputs: list[v2.OutputAsked] | None = None


_decode = msgspec.json.Decoder(_Head)
_KINDS: dict[str, type[v2.Tensor]] = dict(zip(v2.DATATYPES, v2.TENSORS, strict=True))


def infer_request(body: bytes, length: str) -> v2.InferRequest:
    """Read an infer request whose JSON is the first `length` bytes.

    Raises:
        Invalid: If the JSON is no V2 request, or the bytes behind it are not those it announces.
    """
    size = int(length) if length.isdecimal() else -1
    if not 0 <= size <= len(body):
        raise Invalid(
            f"the JSON is said to have {length[:20]} of {len(body)} bytes",
            where="Inference-Header-Content-Length",
            hint="send the length of the JSON before the tensors",
        )
    head = read(_decode.decode, body[:size], "infer request", v2.HINTS)
    rest, inputs = memoryview(body)[size:], []
    for i, tensor in enumerate(head.inputs):
        announced = tensor.parameters.binary_data_size if tensor.parameters else None
        where = f"$.inputs[{i}]"
        if announced is None:
            inputs.append(made(tensor, _in_json(tensor, where), where))
            continue
        if not 0 <= announced <= len(rest):
            raise Invalid(
                f"{tensor.name!r} announces {announced} bytes, {len(rest)} are left",
                where=f"{where}.parameters.binary_data_size",
                hint="send the tensors behind the JSON, in the order of the inputs",
            )
        inputs.append(made(tensor, raw(tensor, rest[:announced], where), where))
        rest = rest[announced:]
    if rest:
        raise Invalid(f"{len(rest)} bytes belong to no input", hint="announce every tensor")
    return v2.InferRequest(inputs, head.id, head.parameters, head.outputs)


def raw(tensor: Any, data: memoryview, where: str) -> Any:
    """Return the values in the raw bytes of a tensor that has name, shape and datatype.

    Raises:
        Invalid: If they are not as many as the shape wants, or no such values.
    """
    wanted = v2.size_of(tensor.shape)
    if tensor.datatype == "BYTES":
        texts: list[Any] = list(_texts(data, where))
        if len(texts) != wanted:
            raise _misshapen(tensor, where)
        return texts
    dtype = np.dtype(_dtype(tensor, where))
    if len(data) != wanted * dtype.itemsize:
        raise _misshapen(tensor, where)
    try:
        return np.frombuffer(data, dtype).reshape(tensor.shape)
    except (ValueError, OverflowError):  # nothing fills it, and it is too large for an array
        raise _misshapen(tensor, where) from None


def _in_json(tensor: _Tensor, where: str) -> Any:
    """Return data that stand in the JSON, checked as those of a request without binary tensors."""
    _dtype(tensor, where)
    kind = _KINDS[tensor.datatype]
    fields = {"name": tensor.name, "shape": tensor.shape, "data": tensor.data}
    try:
        made: Any = msgspec.convert({**fields, "datatype": tensor.datatype}, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"the data of {tensor.name!r}: {error}", where=where) from None
    return made.data


def _dtype(tensor: Any, where: str) -> str:
    found = "object" if tensor.datatype == "BYTES" else _DTYPES.get(tensor.datatype)
    if found is None:
        raise Invalid(
            f"the datatype {tensor.datatype!r} is not known",
            where=f"{where}.datatype",
            hint=v2.HINTS["datatype"],
        )
    return found


def made(tensor: Any, data: Any, where: str) -> v2.Tensor:
    """Return a tensor of these values.

    Raises:
        Invalid: If its datatype is not known.
    """
    _dtype(tensor, where)
    kind: Any = _KINDS[tensor.datatype]
    found: v2.Tensor = kind(tensor.name, list(tensor.shape), data)
    return found


def _texts(data: memoryview, where: str) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise Invalid("a text ends before its length does", where=where)
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4
        if at + length > len(data):
            raise Invalid(f"a text of {length} bytes has {len(data) - at} left", where=where)
        yield bytes(data[at : at + length])
        at += length


def _misshapen(tensor: Any, where: str) -> Invalid:
    return Invalid(
        f"the bytes of {tensor.name!r} do not fill the shape {list(tensor.shape)}",
        where=where,
        hint="send little-endian values in row-major order",
    )


def is_wanted(request: v2.InferRequest) -> bool:
    """Tell whether a tensor of the answer is to be binary: asked for by itself, or for all."""
    asked = request.outputs or ()
    return any(_is_raw(one.name, request) for one in asked) or (not asked and _all_raw(request))


def _all_raw(request: v2.InferRequest) -> bool:
    return bool(request.parameters and request.parameters.binary_data_output)


def _is_raw(name: str, request: v2.InferRequest) -> bool:
    for asked in request.outputs or ():
        if asked.name == name and asked.parameters is not None:
            said = asked.parameters.binary_data
            if said is not None:
                return said
    return _all_raw(request)


def answer(written: v2.InferAnswer, request: v2.InferRequest) -> tuple[bytes, int]:
    """Return an answer whose outputs are arrays, and the length of its JSON.

    Those that are asked for as raw bytes stand behind the JSON, in their order.
    """
    outputs: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    for output in written.outputs:
        said = {"name": output.name, "shape": output.shape, "datatype": output.datatype}
        if _is_raw(output.name, request):
            pieces.append(raw_of(output.data, output.datatype))
            outputs.append(said | {"parameters": {"binary_data_size": len(pieces[-1])}})
        else:
            outputs.append(said | {"data": plain(output.data.reshape(-1))})
    head = v2.encode(
        {
            "model_name": written.model_name,
            "model_version": written.model_version,
            "id": written.id,
            "parameters": written.parameters,
            "outputs": outputs,
        }
    )
    return b"".join((head, *pieces)), len(head)


def reply(body: bytes, json: int, headers: Headers = ()) -> Reply:
    """Return the reply with a body whose first `json` bytes are JSON, tensors following."""
    return Reply(body, kind=_RAW, headers=((HEADER, b"%d" % json), *headers))


def raw_of(values: Any, datatype: str) -> bytes:
    """Return an array as raw bytes: numbers little-endian, texts after their lengths.

    There is no null among them: what is none is NaN, zero, or an empty text.
    """
    if datatype != "BYTES":
        if values.dtype == object:
            none = np.nan if datatype.startswith("FP") else 0
            values = np.array([none if each is None else each for each in values.reshape(-1)])
        return np.ascontiguousarray(values, dtype=_DTYPES[datatype]).tobytes()
    pieces = []
    for value in values.reshape(-1):
        data = blobs.encoded(value)
        pieces += [_LENGTH.pack(len(data)), data]
    return b"".join(pieces)
