"""How a step's result becomes bytes: frames as Arrow, plain values as JSON, the rest pickled."""

import io
import pickle
from typing import Any

import msgspec
import polars as pl
from blake3 import blake3

from setpoint.errors import Invalid

_FRAME, _PICKLE = b"arrow\0", b"pickle\0"


def dump(value: Any) -> bytes:
    """Return the bytes of a step's result.

    Raises:
        Invalid: If the value cannot be stored.
    """
    if isinstance(value, pl.DataFrame):
        buffer = io.BytesIO()
        value.write_ipc(buffer, compression="lz4")
        return _FRAME + buffer.getvalue()
    try:
        return _PICKLE + pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Invalid(
            f"a result of type {type(value).__name__} cannot be stored",
            where=str(error),
            hint="return plain values, data frames or objects of importable classes",
        ) from None


def load(data: bytes) -> Any:
    """Return the value of bytes that `dump` made and the content store verified."""
    if data.startswith(_FRAME):
        return pl.read_ipc(io.BytesIO(data[len(_FRAME) :]))
    return pickle.loads(data[len(_PICKLE) :])  # noqa: S301 - our own bytes, verified by address


def fingerprint(value: Any) -> str:
    """Return a hash of a value that the caller gives to a pipeline."""
    try:
        return blake3(msgspec.json.encode(value, order="sorted")).hexdigest()
    except TypeError:
        return blake3(dump(value)).hexdigest()
