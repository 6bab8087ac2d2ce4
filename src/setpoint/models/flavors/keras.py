"""Keras models, on whichever of its backends is installed: stored as ``.keras`` files."""

import tempfile
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.entities import Signature
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.registry import of_package
from setpoint.models.flavors.torch import arrays, by_input
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

        names = _named(model, signature)

        def answer(rows: Rows) -> Any:
            found = model(_given(rows, signature, names), training=False)
            if isinstance(found, list | tuple):
                return tuple(keras.ops.convert_to_numpy(each) for each in found)
            if isinstance(found, dict):
                return {name: keras.ops.convert_to_numpy(each) for name, each in found.items()}
            return keras.ops.convert_to_numpy(found)

        return answer

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("its backend adds up in an order of its own, so decisions could flip")


def _named(model: Any, signature: Signature) -> list[str]:
    """Return the names of a model's inputs; none if it has one, or rows have others.

    A model that was made of a dict of inputs calls them by its keys, whatever they call themselves.
    """
    whole = getattr(model, "input", None)
    named = whole if isinstance(whole, dict) else [each.name for each in _inputs(model)]
    names = list(named)
    return names if len(names) > 1 and set(names) <= set(signature.names) else []


def _inputs(model: Any) -> list[Any]:
    """Return the symbolic inputs of a model; one that is a class of its own has none."""
    return list(getattr(model, "inputs", None) or [])


def _given(rows: Rows, signature: Signature, names: list[str]) -> Any:
    """Return rows as a model takes them: by name, if its inputs have names that rows have."""
    if names:
        held = by_input(rows, signature)
        return {name: held[name] for name in names}
    given = arrays(rows, signature)
    return given[0] if len(given) == 1 else given


def _library() -> Any:
    try:
        import keras  # noqa: PLC0415 - seconds, and only where its models are
    except ImportError:
        raise MissingExtra(
            "this model needs Keras and a backend of it", hint="pip install keras torch"
        ) from None
    return keras
