"""Keras models, on whichever of its backends is installed: stored as ``.keras`` files."""

import tempfile
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Signature
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import of_package
from setpoint.models.flavors.torch import arrays
from setpoint.models.protocols import Ask, Rows


class Keras:
    """The ``keras`` flavor: models of Keras 3, and ``.keras`` files."""

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path):
            return model.suffix == ".keras"
        return of_package(model, "keras") and hasattr(model, "save")

    def save(self, model: Any) -> bytes:
        if isinstance(model, Path):
            return model.read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            model.save(path)
            return path.read_bytes()

    def load(self, data: bytes, signature: Signature) -> Ask:
        keras = _library()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(data)
            try:
                model = keras.saving.load_model(path, compile=False)  # runs none of its lambdas
            except Exception as error:  # noqa: BLE001 - foreign code
                raise Invalid(
                    "the Keras model cannot be loaded", where=str(error).splitlines()[0][:200]
                ) from None

        def answer(rows: Rows) -> Any:
            given = arrays(rows, signature)
            found = model(given[0] if len(given) == 1 else given, training=False)
            if isinstance(found, list | tuple):
                return tuple(keras.ops.convert_to_numpy(each) for each in found)
            if isinstance(found, dict):
                return {name: keras.ops.convert_to_numpy(each) for name, each in found.items()}
            return keras.ops.convert_to_numpy(found)

        return answer

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("its backend adds up in an order of its own, so decisions could flip")


def _library() -> Any:
    try:
        import keras  # noqa: PLC0415 - seconds, and only where its models are
    except ImportError:
        raise MissingExtra(
            "this model needs Keras and a backend of it", hint="pip install keras torch"
        ) from None
    return keras
