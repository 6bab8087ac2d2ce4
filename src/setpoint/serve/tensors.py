"""From the tensors of a V2 request to an endpoint's rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.serve import blobs, v2
from setpoint.serve.protocols import Floats
from setpoint.serve.v2 import Inputs, InputSpec, Rows

#: What nested data of tensors consist of.
_LEAVES: tuple[tuple[type[v2.Tensor], Any], ...] = (
    (v2.Numbers, float | None),
    (v2.Integers, int),
    (v2.Booleans, bool),
    (v2.Texts, str | None),
)


def rows(request: v2.InferRequest, inputs: Inputs) -> Rows:
    """Bring the tensors of a request into the endpoint's columns.

    Args:
        request: One tensor ``[n]`` or ``[n, 1]`` per input, in any order; or a single one
            ``[n, k]`` whose columns are the `k` numeric inputs in order.
        inputs: What the endpoint takes.

    Raises:
        Invalid: If an input is missing, unknown or given twice, or a tensor's datatype or
            shape does not fit; says which and what would.
    """
    tensors = request.inputs
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and _is_matrix(tensors[0], inputs):
        return _matrix(tensors[0], inputs)
    return _columns(tensors, inputs)


def _is_matrix(tensor: v2.Tensor, inputs: Inputs) -> bool:
    if not inputs.matrix or isinstance(tensor, v2.Texts):
        return False
    return tensor.shape[1] != 1 or len(inputs.specs) == 1 or tensor.name not in inputs.names


def _matrix(tensor: v2.Tensor, inputs: Inputs) -> Rows:
    required, width = len(inputs.required), tensor.shape[1]
    if width not in {required, len(inputs.numeric)}:
        raise Invalid(
            f"the tensor {tensor.name!r} has {width} columns, the model takes {required}",
            where="$.inputs[0].shape",
            hint=f"send [n, {required}], in this order: {_names(inputs)}",
        )
    values = _numeric(tensor, "$.inputs[0]")
    texts: dict[str, list[str | None]] = {
        known.name: [None] * len(values) for known in inputs.specs if known.text
    }
    if width == len(inputs.numeric):
        return Rows(len(values), values, texts, inputs.optional.difference(inputs.numeric))
    wide = np.full((len(values), len(inputs.numeric)), np.nan)
    wide[:, [inputs.numeric.index(name) for name in inputs.required]] = values
    return Rows(len(values), wide, texts, inputs.optional)


def _columns(tensors: Sequence[v2.Tensor], inputs: Inputs) -> Rows:
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
    found = {
        known.name: _column(named[known.name][1], known, f"$.inputs[{named[known.name][0]}]")
        for known in inputs.specs
        if known.name in named
    }  # as many values as rows in each: from here on the count is true
    numeric = [found.get(name) for name in inputs.numeric]
    values = np.full((count, len(numeric)), np.nan)
    for i, column in enumerate(numeric):
        if column is not None:
            values[:, i] = column
    texts: dict[str, list[str | None]] = {
        known.name: found[known.name] if known.name in found else [None] * count
        for known in inputs.specs
        if known.text
    }
    held = {
        known.name: found[known.name]
        for known in inputs.specs
        if known.blob and known.name in found
    }
    return Rows(count, values, texts, inputs.optional - named.keys(), held)


def _column(tensor: v2.Tensor, known: InputSpec, where: str) -> Any:
    """Return the values of one input, a row each."""
    if known.blob:
        return blob(tensor, known, where)
    if len(tensor.shape) not in {1, 2} or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
        raise Invalid(
            f"the input {known.name!r} has the shape {tensor.shape}",
            where=f"{where}.shape",
            hint="one column has the shape [n] or [n, 1]",
        )
    return _text(tensor, known, where) if known.text else _numeric(tensor, where).reshape(-1)


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


def _numeric(tensor: v2.Tensor, where: str) -> Floats:
    """Return the data as float64 in the tensor's shape."""
    if isinstance(tensor, v2.Texts):
        raise Invalid(
            f"the input {tensor.name!r} is numeric, not BYTES",
            where=f"{where}.datatype",
            hint="send FP64; null stands for a missing value",
        )
    try:
        values = np.array(_leaves(tensor), dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise _misshapen(tensor, where) from None
    values = _shaped(values, tensor, where)
    if isinstance(tensor, v2.Numbers):
        return values
    bounds = v2.INTEGERS.get(tensor.datatype)
    if bounds and values.size and (values.min() < bounds[0] or values.max() > bounds[1]):
        raise Invalid(
            f"a value of {tensor.name!r} does not fit {tensor.datatype}",
            where=f"{where}.data",
            hint=f"values lie between {bounds[0]} and {bounds[1]}; send a wider datatype",
        )
    return values


def _text(tensor: v2.Tensor, known: InputSpec, where: str) -> list[str | None]:
    if not (isinstance(tensor, v2.Texts) or known.key):
        raise Invalid(
            f"the input {tensor.name!r} is text, not {tensor.datatype}",
            where=f"{where}.datatype",
            hint="send BYTES, with strings or null as data",
        )
    try:
        values = np.array(_leaves(tensor), dtype=object)
    except (ValueError, TypeError):
        raise _misshapen(tensor, where) from None
    found = _shaped(values, tensor, where).reshape(-1).tolist()
    return blobs.as_texts(as_keys(found) if known.key else found, where)


def as_keys(values: Sequence[Any]) -> list[Any]:
    """Return what rows are routed by as texts: a customer's number is a name, too."""
    return [_key(value) for value in values]


def _key(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return None if value != value else f"{value:.17g}" if isinstance(value, float) else str(value)  # noqa: PLR0124 - NaN


def blob(tensor: Any, known: InputSpec, where: str) -> NDArray[Any]:
    """Return a tensor a row [n, …], or the bytes of each row as objects.

    Raises:
        Invalid: If the shape is another, or the data do not fill it or are of another kind.
    """
    if not known.shape:
        texts = _shaped(np.array(tensor.data, dtype=object), tensor, where).reshape(-1)
        return blobs.as_bytes(texts.tolist(), f"{where}.data")
    wanted = [tensor.shape[0] if tensor.shape else -1, *known.shape]
    same = zip(tensor.shape, wanted, strict=False)
    wrong = len(tensor.shape) != len(wanted) or any(b not in {a, -1} for a, b in same)
    if wrong or 0 in tensor.shape[1:]:  # any number of rows would fit nothing
        raise Invalid(
            f"the input {known.name!r} has the shape {list(tensor.shape)}",
            where=f"{where}.shape",
            hint=f"send [n, {', '.join(map(str, known.shape))}]",
        )
    if known.datatype == "BYTES" or isinstance(tensor, v2.Texts):
        raise Invalid(f"the input {known.name!r} is {known.datatype}", where=f"{where}.datatype")
    return _numeric(tensor, where).astype(blobs.dtype_of(known.datatype), copy=False)


def _shaped(values: NDArray[Any], tensor: v2.Tensor, where: str) -> NDArray[Any]:
    shape = tuple(tensor.shape)
    if values.shape == shape:
        return values
    if values.ndim != 1 or not shape or values.size != v2.size_of(shape):
        raise _misshapen(tensor, where)
    try:
        return values.reshape(shape)
    except (ValueError, OverflowError):  # nothing fills it, and it is too large for an array
        raise _misshapen(tensor, where) from None


def _leaves(tensor: Any) -> Any:
    """Return the data of a tensor; where they are nested, all are of its datatype.

    Raises:
        ValueError: If they are not.
    """
    data = tensor.data
    if type(data) is not list or not data or type(data[0]) is not list:
        return data  # checked when they were read
    kind: Any = next(leaf for base, leaf in _LEAVES if isinstance(tensor, base))
    for _ in range(min(len(tensor.shape), v2.MOST_DIMENSIONS)):
        kind = list[kind]
    return msgspec.convert(data, kind)  # whose error is a ValueError


def _misshapen(tensor: v2.Tensor, where: str) -> Invalid:
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
