"""What a row may hold besides numbers and texts: a tensor, or the bytes of an image, say.

In the prediction log stands its digest, which tells whether two rows had the same; the content
is not kept.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid

_NAMES = {"FP16": "float16", "FP32": "float32", "FP64": "float64", "BOOL": "bool"}


def dtype_of(datatype: str) -> "np.dtype[Any]":
    """Return the dtype of a V2 datatype of numbers."""
    return np.dtype(_NAMES.get(datatype) or datatype.lower())


def as_bytes(values: Sequence[Any], where: str) -> NDArray[Any]:
    """Return bytes as they are and texts, which stand for some in base 64, decoded.

    Raises:
        Invalid: If one is neither.
    """
    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        if isinstance(value, str):
            try:
                found[i] = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise Invalid(
                    "these bytes are not in base 64",
                    where=f"{where}[{i}]",
                    hint="in JSON send bytes in base 64, or send a binary tensor",
                ) from None
        elif value is None or isinstance(value, bytes):
            found[i] = value
        else:
            raise Invalid("this is no text and no bytes", where=f"{where}[{i}]")
    return found


def as_texts(values: Sequence[Any], where: str) -> list[str | None]:
    """Return texts as they are, and bytes decoded.

    Raises:
        Invalid: If bytes are not in UTF-8.
    """
    try:
        return [each.decode() if isinstance(each, bytes) else each for each in values]
    except UnicodeDecodeError:
        raise Invalid("a text is not in UTF-8", where=where) from None


def encoded(value: Any) -> bytes:
    """Return a text or bytes of an answer as bytes, none as empty."""
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode()


def as_tensor(values: Any, datatype: str, shape: Sequence[int], where: str) -> NDArray[Any]:
    """Return nested lists of numbers as ``[n, *shape]``.

    Raises:
        Invalid: If they are no numbers, or of another shape.
    """
    try:
        found = np.array(values, dtype=dtype_of(datatype))
    except (ValueError, TypeError, OverflowError):
        raise Invalid(
            "this is no tensor of numbers", where=where, hint=f"send rows of the shape {shape}"
        ) from None
    same = zip(found.shape[1:], shape, strict=False)
    if found.ndim != len(shape) + 1 or any(b not in {a, -1} for a, b in same):
        raise Invalid(
            f"a row has the shape {list(found.shape[1:])}",
            where=where,
            hint=f"send rows of the shape {list(shape)}",
        )
    return found


def digests(blobs: Mapping[str, NDArray[Any]]) -> dict[str, list[str | None]]:
    """Return what the log has of them: a digest a row, null where there is nothing."""
    return {name: [digest(each) for each in values] for name, values in blobs.items()}


def digest(value: Any) -> str | None:
    """Return what the log has of bytes, or of an array of numbers."""
    if value is None:
        return None
    from blake3 import blake3  # noqa: PLC0415 - few models take any

    data = value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()
    return f"b3:{blake3(data).hexdigest(16)}"
