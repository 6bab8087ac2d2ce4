"""The Open Inference Protocol V2 over JSON: requests to columns of rows, scores to answers."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.serve.decoding import read
from setpoint.serve.protocols import Floats

VERSION = "0.1.0"  #: of the server
OUTPUT = "score"  #: the one output: positive-class probability or value, FP64 [n]
LONGEST_ID = 256

_FLOATS = ("FP64", "FP32", "FP16")
_INTEGERS = {
    f"{sign}INT{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}


class Parameters(Struct):
    """What Setpoint reads of a request's parameters; others are ignored."""

    ids: list[str] | None = None  #: prediction ids, one a row; made up where absent
    keys: list[str] | None = None  #: what routing sticks to, one a row; else the ids
    binary_data_output: bool = False  #: all outputs as raw bytes


class Tensor(Struct, tag_field="datatype"):
    name: str
    shape: list[int]

    @property
    def datatype(self) -> str:
        return str(self.__struct_config__.tag)


class Numbers(Tensor):
    data: list[float | list[float | None] | None]


class Integers(Tensor):
    data: list[int | list[int]]


class Booleans(Tensor):
    data: list[bool | list[bool]]


class Texts(Tensor, tag="BYTES"):
    data: list[str | list[str | None] | None]


def _tagged(base: type[Tensor], tag: str) -> type[Tensor]:
    made = msgspec.defstruct(tag, [], bases=(base,), tag=tag, module=__name__)
    return cast("type[Tensor]", made)


TENSORS: tuple[type[Tensor], ...] = (
    *(_tagged(Numbers, tag) for tag in _FLOATS),
    *(_tagged(Integers, tag) for tag in _INTEGERS),
    _tagged(Booleans, "BOOL"),
    Texts,
)
DATATYPES = (*_FLOATS, *_INTEGERS, "BOOL", "BYTES")
HINTS = {"datatype": f"datatypes are {', '.join(DATATYPES)}"}  #: by what a path in JSON has


class OutputParameters(Struct):
    binary_data: bool | None = None  #: this output as raw bytes


class OutputAsked(Struct):
    name: str
    parameters: OutputParameters | None = None


class InferRequest(Struct):
    inputs: list[Tensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[OutputAsked] | None = None


class Output(Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class AnswerParameters(Struct, omit_defaults=True):
    ids: list[str]
    versions: list[int]
    fallback: bool = False  #: a version failed and its baseline answered, for some rows at least


class InferAnswer(Struct):
    model_name: str
    model_version: str
    id: str
    parameters: AnswerParameters
    outputs: list[Output]


class LabelRequest(Struct):
    ids: list[str]
    labels: list[float | bool]


class InputSpec(Struct, frozen=True):
    """An input as requests are read against it."""

    name: str
    text: bool  #: whether it takes BYTES
    required: bool = True  #: whether the live version needs it


class Inputs:
    """The inputs of an endpoint, with what every request asks about them worked out."""

    def __init__(self, specs: Sequence[InputSpec]) -> None:
        self.specs = tuple(specs)
        self.required = [i.name for i in specs if i.required]
        self.numeric = [i.name for i in specs if not i.text]
        self.names = frozenset(i.name for i in specs)
        self.has_text = len(self.numeric) < len(self.specs)
        self.optional = frozenset(i.name for i in specs if not i.required)


class Rows(Struct, frozen=True):
    """The rows of a request, column by column, in the endpoint's order."""

    count: int
    values: Floats  #: [n, numeric columns]; NaN where missing
    texts: dict[str, list[str | None]]
    absent: frozenset[str] = frozenset()  #: optional inputs that were not sent


encode = msgspec.json.Encoder().encode


def _request_type() -> Any:
    union: Any = TENSORS[0]
    for tensor in TENSORS[1:]:
        union = union | tensor
    return msgspec.defstruct(
        "InferRequest",
        [
            ("inputs", list[union]),
            ("id", str | None, None),
            ("parameters", Parameters | None, None),
            ("outputs", list[OutputAsked] | None, None),
        ],
        bases=(),
        module=__name__,
    )


_decode_infer: Callable[[bytes], InferRequest] = msgspec.json.Decoder(_request_type()).decode
_decode_labels = msgspec.json.Decoder(LabelRequest).decode


def infer_request(body: bytes) -> InferRequest:
    """Read the body of an infer request.

    Raises:
        Invalid: If it is no JSON, or no V2 request; says where.
    """
    return read(_decode_infer, body, "infer request", HINTS)


def label_request(body: bytes) -> LabelRequest:
    """Read ``{"ids": [...], "labels": [...]}``.

    Raises:
        Invalid: If it is anything else, or the two differ in length.
    """
    request = read(_decode_labels, body, "label request")
    if len(request.ids) != len(request.labels):
        raise Invalid(
            f"{len(request.ids)} ids but {len(request.labels)} labels",
            where="$.labels",
            hint="send one label for each prediction id, in the same order",
        )
    check_ids(request.ids, "$.ids", unique=False)
    return request


def check_ids(ids: Sequence[str], where: str, *, unique: bool) -> None:
    """Refuse ids that a database or a reader could not tell apart or keep.

    Raises:
        Invalid: If one is empty, too long, has a NUL, or (with `unique`) comes twice.
    """
    for i, text in enumerate(ids):
        if not 0 < len(text) <= LONGEST_ID or "\0" in text:
            raise Invalid(
                f"{text[:40]!r} cannot be an id",
                where=f"{where}[{i}]",
                hint=f"ids are 1 to {LONGEST_ID} characters, none of them NUL",
            )
    if unique and len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(text for text in ids if text in seen or seen.add(text))  # type: ignore[func-returns-value]
        raise Invalid(
            f"the id {twice!r} comes twice in one request",
            where=where,
            hint="give every row an id of its own, or none to have them made",
        )


def rows(request: InferRequest, inputs: Inputs) -> Rows:
    """Bring the tensors of a request into the endpoint's columns.

    Args:
        request: One tensor ``[n]`` or ``[n, 1]`` per input, in any order; or a single one
            ``[n, k]`` whose columns are the `k` numeric inputs in order.
        inputs: What the endpoint takes.

    Raises:
        Invalid: If an input is missing, unknown or given twice, or a tensor's datatype or
            shape does not fit; says which and what would.
    """
    for asked in request.outputs or ():
        if asked.name != OUTPUT:
            raise Invalid(
                f"there is no output {asked.name!r}", where="$.outputs", hint=f"ask for {OUTPUT!r}"
            )
    tensors = request.inputs
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and _is_matrix(tensors[0], inputs):
        return _matrix(tensors[0], inputs)
    return _columns(tensors, inputs)


def _is_matrix(tensor: Tensor, inputs: Inputs) -> bool:
    if inputs.has_text or isinstance(tensor, Texts):
        return False
    return tensor.shape[1] != 1 or len(inputs.specs) == 1 or tensor.name not in inputs.names


def _matrix(tensor: Tensor, inputs: Inputs) -> Rows:
    required, width = len(inputs.required), tensor.shape[1]
    if width not in {required, len(inputs.specs)}:
        raise Invalid(
            f"the tensor {tensor.name!r} has {width} columns, the model takes {required}",
            where="$.inputs[0].shape",
            hint=f"send [n, {required}], in this order: {_names(inputs)}",
        )
    values = _numeric(tensor, "$.inputs[0]")
    if width == len(inputs.specs):
        return Rows(len(values), values, {})
    wide = np.full((len(values), len(inputs.specs)), np.nan)
    wide[:, [i for i, known in enumerate(inputs.specs) if known.required]] = values
    return Rows(len(values), wide, {}, inputs.optional)


def _columns(tensors: Sequence[Tensor], inputs: Inputs) -> Rows:
    named = {tensor.name: (i, tensor) for i, tensor in enumerate(tensors)}
    if len(named) != len(tensors):
        raise Invalid("an input is given twice", where="$.inputs", hint="send each input once")
    check_names(named, inputs, "$.inputs")
    counts = {tensor.shape[0] if tensor.shape else -1 for tensor in tensors}
    if len(counts) > 1:
        raise Invalid(
            f"the inputs differ in their number of rows: {sorted(counts)}",
            where="$.inputs",
            hint="every input has the same first dimension: the number of rows",
        )
    count = counts.pop()
    numeric: list[NDArray[np.float64]] = []
    texts: dict[str, list[str | None]] = {}
    for known in inputs.specs:
        if known.name not in named:
            if known.text:
                texts[known.name] = [None] * count
            else:
                numeric.append(np.full(count, np.nan))
            continue
        position, tensor = named[known.name]
        where = f"$.inputs[{position}]"
        if len(tensor.shape) not in {1, 2} or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
            raise Invalid(
                f"the input {known.name!r} has the shape {tensor.shape}",
                where=f"{where}.shape",
                hint="one column has the shape [n] or [n, 1]",
            )
        if known.text:
            texts[known.name] = _text(tensor, where)
        else:
            numeric.append(_numeric(tensor, where).reshape(-1))
    values = np.stack(numeric, axis=1) if numeric else np.empty((count, 0))
    return Rows(count, values, texts, inputs.optional - named.keys())


def check_names(named: Mapping[str, Any], inputs: Inputs, where: str) -> None:
    """Refuse inputs if one that is needed is missing, or one is unknown.

    Raises:
        Invalid: If so; says which, and what the model takes.
    """
    if named.keys() == inputs.names:
        return
    missing = [name for name in inputs.required if name not in named]
    if missing:
        raise Invalid(
            f"missing input {_some(missing)}",
            where=where,
            hint=f"the model takes: {_names(inputs)}",
        )
    unknown = named.keys() - inputs.names
    if unknown:
        raise Invalid(
            f"unknown input {_some(sorted(unknown))}",
            where=where,
            hint=f"the model takes: {_names(inputs)}",
        )


def _numeric(tensor: Tensor, where: str) -> Floats:
    """Return the data as float64 in the tensor's shape."""
    if isinstance(tensor, Texts):
        raise Invalid(
            f"the input {tensor.name!r} is numeric, not BYTES",
            where=f"{where}.datatype",
            hint="send FP64; null stands for a missing value",
        )
    try:
        values = np.array(tensor.data, dtype=np.float64)  # type: ignore[attr-defined]
    except (ValueError, OverflowError):
        raise _misshapen(tensor, where) from None
    values = _shaped(values, tensor, where)
    if isinstance(tensor, Numbers):
        return values
    bounds = _INTEGERS.get(tensor.datatype)
    if bounds and values.size and (values.min() < bounds[0] or values.max() > bounds[1]):
        raise Invalid(
            f"a value of {tensor.name!r} does not fit {tensor.datatype}",
            where=f"{where}.data",
            hint=f"values lie between {bounds[0]} and {bounds[1]}; send a wider datatype",
        )
    return values


def _text(tensor: Tensor, where: str) -> list[str | None]:
    if not isinstance(tensor, Texts):
        raise Invalid(
            f"the input {tensor.name!r} is text, not {tensor.datatype}",
            where=f"{where}.datatype",
            hint="send BYTES, with strings or null as data",
        )
    try:
        values = np.array(tensor.data, dtype=object)
    except ValueError:
        raise _misshapen(tensor, where) from None
    shaped: list[str | None] = _shaped(values, tensor, where).reshape(-1).tolist()
    return shaped


def _shaped(values: NDArray[Any], tensor: Tensor, where: str) -> NDArray[Any]:
    shape = tuple(tensor.shape)
    if values.shape == shape:
        return values
    if values.ndim != 1 or min(shape, default=-1) < 0 or values.size != prod(shape):
        raise _misshapen(tensor, where)
    return values.reshape(shape)


def _misshapen(tensor: Tensor, where: str) -> Invalid:
    return Invalid(
        f"the data of {tensor.name!r} do not fill the shape {tensor.shape}",
        where=f"{where}.data",
        hint="data are flat in row-major order, or nested like the shape",
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _names(inputs: Inputs) -> str:
    return ", ".join(inputs.required)
