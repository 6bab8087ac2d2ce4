"""Rows as the schema of an MLflow folder wants them: columns of its types, or tensors.

MLflow itself casts next to nothing: single precision and 32 bits are refused where a data frame
has doubles, and so are tensors of another dtype.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.models.entities import Signature
from setpoint.models.frames import handing
from setpoint.models.protocols import Rows
from setpoint.models.rows import by_name, matrix

_NUMBERS = "biuf"


def handed(rows: Rows, signature: Signature, schema: Any) -> Any:
    """Return rows as MLflow's `Schema` says that they are given: a frame, an array, or several.

    Raises:
        Invalid: If one array is wanted, and the inputs are no numbers and more than one.
    """
    if not schema.is_tensor_spec():
        return _columns(rows, signature, schema)
    if not schema.has_input_names():
        return _shaped(_whole(rows, signature), schema.inputs[0])
    held = by_name(rows, signature)
    specs = {spec.name: spec for spec in schema.inputs if spec.name in held}
    return {name: _shaped(np.asarray(held[name]), spec) for name, spec in specs.items()}


def _columns(rows: Rows, signature: Signature, schema: Any) -> Any:
    frame = handing("pandas")(rows, signature)
    names = schema.input_names() if schema.has_input_names() else frame.columns
    for name, spec in zip(names, schema.inputs, strict=False):  # MLflow says what is missing
        if name in frame and hasattr(spec.type, "to_numpy"):  # else lists, objects, maps
            frame[name] = _cast(frame[name].to_numpy(), spec.type.to_numpy())
    return frame


def _whole(rows: Rows, signature: Signature) -> NDArray[Any]:
    """Return all inputs as one array: a matrix of numbers, or the one that there is."""
    if signature.numeric:
        return matrix(rows, signature)
    if len(signature.names) > 1:
        raise Invalid(
            "the MLflow model takes one array, and the inputs do not fit one",
            where=", ".join(signature.names),
            hint="give numbers only, or one input",
        )
    return np.asarray(by_name(rows, signature)[signature.names[0]])


def _shaped(array: NDArray[Any], spec: Any) -> NDArray[Any]:
    """Return an array of a spec's dtype, with or without an axis of its own for one value a row."""
    wanted = len(spec.shape)
    if array.ndim == 1 and wanted == 2:
        array = array.reshape(-1, 1)
    if array.ndim == 2 and wanted == 1 and array.shape[1] == 1:
        array = array.reshape(-1)
    return _texts(array) if spec.type.kind == "U" else _cast(array, spec.type)


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    """Return texts as an array of NumPy's own, which has no missing ones: they are empty."""
    held = ["" if each is None else str(each) for each in array.reshape(-1)]
    return np.array(held).reshape(array.shape)


def _cast(values: NDArray[Any], wanted: np.dtype[Any]) -> NDArray[Any]:
    """Return values of a dtype; those that do not fit it stay as they are, for MLflow to refuse.

    Such are a half or a gap among whole numbers, and what is no time.
    """
    if wanted.kind == "M":
        try:
            return values.astype(wanted)
        except ValueError:
            return values
    if wanted.kind not in _NUMBERS or values.dtype.kind not in _NUMBERS:
        return values
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is seen below
        cast = values.astype(wanted)
    return cast if wanted.kind == "f" or np.array_equal(cast, values) else values
