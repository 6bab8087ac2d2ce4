"""The background of a version: some of its training rows, which explanations compare with.

Stored as MessagePack: the names of the inputs, and a list of values for each; NaN is missing.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.models.entities import Signature
from setpoint.models.protocols import Floats, Rows

MOST_ROWS = 100  #: more cost every explanation time; the base is then good to a tenth of the spread


class _Stored(Struct, frozen=True):
    names: list[str]
    values: list[list[float | str | None]]  #: by input, then by row


def chosen(
    rows: Rows, signature: Signature, ask: Callable[[Rows], Any], rng: np.random.Generator
) -> bytes | None:
    """Return an artifact of up to `MOST_ROWS` of rows that have a score; None if none has.

    Args:
        rows: Training rows.
        signature: Of the model.
        ask: The model.
        rng: Decides which.
    """
    if why_not(signature):
        return None
    able = np.flatnonzero(np.isfinite(scores_of(ask(rows))))
    if not able.size:
        return None
    picked = np.sort(rng.permutation(able)[:MOST_ROWS])
    if isinstance(rows, np.ndarray):
        return encode(rows[picked], signature)
    return encode({name: np.asarray(rows[name])[picked] for name in signature.names}, signature)


def why_not(signature: Signature) -> str:
    """Return why no prediction of a model can be explained; empty if they can be."""
    if not signature.scored:
        return "it gives no score"
    tensors = [each.name for each in signature.inputs if not each.numeric and not each.text]
    return f"it takes tensors or bytes: {', '.join(tensors)}" if tensors else ""


def scores_of(answer: Any) -> Floats:
    """Return the scores in what a model answers: they, or all that it gives by name."""
    found = answer["score"] if isinstance(answer, dict) else answer
    return np.asarray(found, dtype=np.float64)


def encode(rows: Rows, signature: Signature) -> bytes:
    """Return rows as an artifact."""
    if isinstance(rows, np.ndarray):
        values = rows.T.tolist()
    else:
        values = [np.asarray(rows[name], object).tolist() for name in signature.names]
    return msgspec.msgpack.encode(_Stored(signature.names, values))


def decode(data: bytes, signature: Signature) -> Rows:
    """Return the rows of an artifact: a matrix if all inputs are numbers, else columns.

    Raises:
        Invalid: If it is none, or one of a model with other inputs.
    """
    try:
        held = msgspec.msgpack.decode(data, type=_Stored)
    except msgspec.MsgspecError as error:
        raise Invalid("the background of the version cannot be read", where=str(error)) from None
    if held.names != signature.names:
        raise Invalid("the background is of a model with other inputs", where=f"{held.names}")
    if signature.numeric:
        return np.ascontiguousarray(np.array(held.values, dtype=np.float64).T)
    columns: dict[str, Any] = {}
    for known, values in zip(signature.inputs, held.values, strict=True):
        columns[known.name] = np.array(values, np.float64 if known.numeric else object)
    return columns
