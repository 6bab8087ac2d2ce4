"""ONNX models that were made elsewhere, as they are: all their inputs and outputs by name."""

from pathlib import Path
from typing import Any

import numpy as np

from setpoint.errors import Invalid
from setpoint.models.compiled import session
from setpoint.models.entities import Input, Signature
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import of_package
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import by_name, matrix, text

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
}


class Onnx:
    """The ``onnx`` flavor: an `onnx.ModelProto`, or a ``.onnx`` file."""

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return model.suffix == ".onnx"
        return of_package(model, "onnx") and hasattr(model, "SerializeToString")

    def save(self, model: Any) -> bytes:
        if isinstance(model, Path):
            return model.read_bytes()
        return bytes(model.SerializeToString())

    def load(self, data: bytes, signature: Signature) -> Ask:
        """See `Flavor.load`. One input takes all columns together, several one column each."""
        runs = session(data)
        wanted = runs.get_inputs()
        outputs = [each.name for each in runs.get_outputs()]

        def answer(rows: Rows) -> Any:
            if len(wanted) == 1 and signature.numeric:
                feed = {wanted[0].name: matrix(rows, signature).astype(_dtype(wanted[0]))}
            else:
                held = by_name(rows, signature)
                feed = {each.name: _fed(held, each, signature) for each in wanted}
            try:
                found = runs.run(outputs, feed)
            except Exception as error:  # noqa: BLE001 - its exceptions share no public base
                said = str(error).partition("Message: ")[2] or str(error)
                raise Invalid("the model refuses these rows", where=said[:200]) from None
            named = dict(zip(outputs, map(_array, found), strict=True))
            return _classified(named, signature)

        return answer

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("it is ONNX already, with outputs of its own")


def _classified(named: dict[str, Any], signature: Signature) -> Any:
    """Return what is no output among others: a value a row, and a classifier's probabilities.

    Converters write a classifier as its label and those.
    """
    alone = next(iter(named.values()))
    if len(named) == 1 and (signature.kind == "classification" or alone[:1].size == 1):
        return alone
    if signature.kind == "classification" and len(named) == 2:
        for array in named.values():
            if array.ndim == 2 and array.dtype.kind == "f":
                return array
    return named


def _array(found: Any) -> Any:
    if isinstance(found, list) and found and isinstance(found[0], dict):  # a map a row
        return np.array([list(each.values()) for each in found])
    return np.asarray(found)


def _fed(held: Any, wanted: Any, signature: Signature) -> Any:
    known: dict[str, Input] = {each.name: each for each in signature.inputs}
    if wanted.name not in known:
        raise Invalid(
            f"the model takes {wanted.name!r}, which is no column of the example",
            hint=f"columns are: {', '.join(known)}",
        )
    values = held[wanted.name]
    if known[wanted.name].datatype == "BYTES":
        array = text(values)
    else:
        array = np.asarray(values).astype(_dtype(wanted))
    return array.reshape(-1, 1) if array.ndim == 1 and len(wanted.shape) == 2 else array


def _dtype(wanted: Any) -> Any:
    return np.dtype(_DTYPES.get(wanted.type) or wanted.type[len("tensor(") : -1])
