"""Any Python object that predicts: pickled with the user's own code inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from setpoint.models import frames
from setpoint.models.entities import Signature
from setpoint.models.flavors import pickles
from setpoint.models.flavors.asking import asker
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.protocols import Ask, Rows


class Python:
    """The ``python`` flavor: what has ``predict_proba`` or ``predict``, or can be called.

    It is given a `polars.DataFrame` with the columns of the signature, or what its version was
    registered with: pandas, NumPy, Arrow, or a dict of arrays. One that has a method ``load``
    has it called once, when it comes into memory: there it opens what no pickle holds.
    """

    def detect(self, model: Any) -> bool:
        if isinstance(model, Path | type):
            return False
        return any(hasattr(model, name) for name in ("predict_proba", "predict", "__call__"))

    def save(self, model: Any) -> bytes:
        return pickles.dump(model)

    def load(self, data: bytes, signature: Signature) -> Ask:
        model = pickles.load(data)
        if callable(getattr(model, "load", None)):
            model.load()
        prepare: Callable[[Rows, Signature], Any] = frames.handing(signature.frame or "polars")
        return asker(model, signature, prepare)

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("it is a Python object of the project's own")
