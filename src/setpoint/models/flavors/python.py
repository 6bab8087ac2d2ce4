"""Any Python object that predicts: pickled with the user's own code inside."""

from typing import Any

from setpoint.models.entities import Signature
from setpoint.models.flavors import pickles
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.flavors.scores import scorer
from setpoint.models.frames import frame
from setpoint.models.protocols import Score


class Python:
    """The ``python`` flavor: what has ``predict_proba`` or ``predict``, or can be called.

    It is given a `polars.DataFrame` with the columns of the signature.
    """

    def detect(self, model: Any) -> bool:
        return any(hasattr(model, name) for name in ("predict_proba", "predict", "__call__"))

    def save(self, model: Any) -> bytes:
        return pickles.dump(model)

    def load(self, data: bytes, signature: Signature) -> Score:
        return scorer(pickles.load(data), signature, frame)

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:  # noqa: ARG002
        raise Uncompilable("it is a Python object of the project's own")
