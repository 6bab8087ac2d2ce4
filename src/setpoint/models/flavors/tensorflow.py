"""TensorFlow's SavedModels: folders with ``saved_model.pb``, asked by their serving signature."""

from pathlib import Path
from typing import Any

import numpy as np

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Signature
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.folders import pack, unpack
from setpoint.models.protocols import Ask, Rows
from setpoint.models.rows import by_name, matrix

_SIGNATURE = "serving_default"


class TensorFlow:
    """The ``tensorflow`` flavor: the folder of a SavedModel."""

    def detect(self, model: Any) -> bool:
        return isinstance(model, Path) and (model / "saved_model.pb").is_file()

    def save(self, model: Any) -> bytes:
        return pack(model)

    def load(self, data: bytes, signature: Signature) -> Ask:
        tf = _library()
        folder = unpack(data)
        model = tf.saved_model.load(folder.name)
        if _SIGNATURE not in model.signatures:
            raise Invalid(
                f"the SavedModel has no signature {_SIGNATURE!r}",
                hint=f"it has: {', '.join(model.signatures) or 'none'}",
            )
        ask = model.signatures[_SIGNATURE]
        wanted = ask.structured_input_signature[1]

        def answer(rows: Rows) -> Any:
            if len(wanted) == 1 and signature.numeric:
                ((name, spec),) = wanted.items()
                given = {name: tf.constant(matrix(rows, signature), dtype=spec.dtype)}
            else:
                held = by_name(rows, signature)
                given = {name: _tensor(tf, held[name], spec) for name, spec in wanted.items()}
            return _alone(ask(**given))

        answer.model = model, folder  # type: ignore[attr-defined] # which it needs, held
        return answer

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("TensorFlow adds up in an order of its own, so decisions could flip")


def _tensor(tf: Any, values: Any, spec: Any) -> Any:
    array = np.asarray(values)
    if spec.shape.rank == array.ndim + 1:  # [n] where it takes [n, 1]
        array = array.reshape(-1, 1)
    return tf.constant(array.tolist() if array.dtype == object else array, dtype=spec.dtype)


def _alone(found: dict[str, Any]) -> Any:
    return next(iter(found.values())) if len(found) == 1 else found


def _library() -> Any:
    try:
        import tensorflow as tf  # noqa: PLC0415 - seconds, and only where its models are
    except ImportError:
        raise MissingExtra(
            "this model needs TensorFlow", hint="pip install tensorflow-cpu"
        ) from None
    return tf
