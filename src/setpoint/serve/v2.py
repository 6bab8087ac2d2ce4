"""The Open Inference Protocol V2 over JSON: requests to columns of rows, scores to answers."""

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.serve.decoding import lenient, read
from setpoint.serve.protocols import Floats

VERSION = "0.1.0"  #: of the server
LONGEST_ID = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MOST_DIMENSIONS = 32  #: of a tensor

_FLOATS = ("FP64", "FP32", "FP16")
INTEGERS = {
    f"{sign}INT{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}


class Parameters(Struct):
    """What Setpoint reads of a request's parameters; others are ignored."""

    ids: list[str] | None = None  #: prediction ids, one a row; made up where absent
    keys: list[str] | None = None  #: what routing sticks to, one a row; else the ids
    binary_data_output: bool = False  #: all outputs as raw bytes
    route: str = ""  #: who is to answer: an arm, a part in a release, or a version


class Tensor(Struct, tag_field="datatype"):
    name: str
    shape: list[int]

    @property
    def datatype(self) -> str:
        return str(self.__struct_config__.tag)


class Numbers(Tensor):
    data: list[float | list[Any] | None]


class Integers(Tensor):
    data: list[int | list[Any]]


class Booleans(Tensor):
    data: list[bool | list[Any]]


class Texts(Tensor, tag="BYTES"):
    data: list[str | list[Any] | None]


def _tagged(base: type[Tensor], tag: str) -> type[Tensor]:
    made = msgspec.defstruct(tag, [], bases=(base,), tag=tag, module=__name__)
    return cast("type[Tensor]", made)


TENSORS: tuple[type[Tensor], ...] = (
    *(_tagged(Numbers, tag) for tag in _FLOATS),
    *(_tagged(Integers, tag) for tag in INTEGERS),
    _tagged(Booleans, "BOOL"),
    Texts,
)
DATATYPES = (*_FLOATS, *INTEGERS, "BOOL", "BYTES")
HINTS = {"datatype": f"datatypes are {', '.join(DATATYPES)}"}  #: by what a path in JSON has


class OutputParameters(Struct):
    binary_data: bool | None = None  #: this output as raw bytes
    classification: Annotated[int, Meta(ge=0)] = 0  #: how many classes of it, see there; 0: all


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
    data: Any  #: a list, flat


class AnswerParameters(Struct, omit_defaults=True):
    ids: list[str]
    versions: list[int]
    fallback: bool = False  #: a version failed and its baseline answered, for some rows at least
    arms: list[str] | None = None  #: of each row, where a test runs or a route was named


class InferAnswer(Struct):
    model_name: str
    model_version: str
    id: str
    parameters: AnswerParameters
    outputs: list[Output]


class LabelRequest(Struct):
    ids: list[str]
    labels: list[float | bool | str]  #: a class may be told by its name


class InputSpec(Struct, frozen=True):
    """An input as requests are read against it."""

    name: str
    text: bool  #: whether it takes one text a row
    required: bool = True  #: whether the live version needs it
    blob: bool = False  #: whether it takes a tensor or raw bytes a row
    datatype: str = "FP64"
    shape: tuple[int, ...] = ()  #: of one row's tensor; -1 is any length
    key: bool = False  #: whether it only names a row to routing: numbers do that as well as texts


class Inputs:
    """The inputs of an endpoint, with what every request asks about them worked out."""

    def __init__(self, specs: Sequence[InputSpec]) -> None:
        self.specs = tuple(specs)
        self.required = [i.name for i in specs if i.required]
        self.numeric = [i.name for i in specs if not i.text and not i.blob]
        self.names = frozenset(i.name for i in specs)
        self.mixed = len(self.numeric) < len(self.specs)
        #: whether a matrix of numbers has all that is needed
        self.matrix = not any((i.text or i.blob) and i.required for i in specs)
        self.optional = frozenset(i.name for i in specs if not i.required)


class Rows(Struct, frozen=True):
    """The rows of a request, column by column, in the endpoint's order."""

    count: int
    values: Floats  #: [n, numeric columns]; NaN where missing
    texts: dict[str, list[str | None]]
    absent: frozenset[str] = frozenset()  #: optional inputs that were not sent
    blobs: dict[str, NDArray[Any]] = {}  #: tensors [n, …], and objects of bytes


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


_REQUEST = _request_type()
_decode_infer: Callable[[bytes], InferRequest] = lenient(msgspec.json.Decoder(_REQUEST), _REQUEST)
_decode_labels = msgspec.json.Decoder(LabelRequest).decode


def infer_request(body: bytes) -> InferRequest:
    """Read the body of an infer request.

    Raises:
        Invalid: If it is no JSON, or no V2 request; says where.
    """
    return read(_decode_infer, body, "infer request", HINTS)


def size_of(shape: Sequence[int]) -> int:
    """Return how many values fill a shape, -1 if none can."""
    return prod(shape) if len(shape) <= MOST_DIMENSIONS and min(shape, default=0) >= 0 else -1


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
        Invalid: If one is empty, too long, has a character of control, which no header may have
            either, or (with `unique`) comes twice.
    """
    for i, text in enumerate(ids):
        if not 0 < len(text) <= LONGEST_ID or _CONTROL.search(text):
            raise Invalid(
                f"{text[:40]!r} cannot be an id",
                where=f"{where}[{i}]",
                hint=f"ids are 1 to {LONGEST_ID} characters, none of them of control",
            )
    if unique and len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(text for text in ids if text in seen or seen.add(text))  # type: ignore[func-returns-value]
        raise Invalid(
            f"the id {twice!r} comes twice in one request",
            where=where,
            hint="give every row an id of its own, or none to have them made",
        )
