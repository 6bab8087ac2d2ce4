"""What a kind of model (a flavor) implements, and what serving asks of a loaded one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from setpoint.models.entities import Input, Signature

Floats: TypeAlias = NDArray[np.float64]
#: One float matrix [rows, inputs], or one array or list [rows] per input name.
Rows: TypeAlias = NDArray[Any] | Mapping[str, Sequence[Any] | NDArray[Any]]
#: Rows in, one score a row out: the probability of the positive class, or the value.
Score: TypeAlias = Callable[[Rows], Floats]


class Predictor(Protocol):
    """A loaded version: thread-safe, and nothing is kept between calls."""

    inputs: list[Input]

    def predict(self, rows: Rows) -> Floats:
        """Return one float64 a row: the probability of the positive class, or the value.

        Raises:
            Invalid: If a column is missing, has another length or cannot be a number.
        """


class Flavor(Protocol):
    """How one kind of model is recognised, stored, loaded and compiled."""

    def detect(self, model: Any) -> bool:
        """Tell whether this flavor is the right one for a trained model."""

    def save(self, model: Any) -> bytes:
        """Return the model as bytes."""

    def load(self, data: bytes, signature: Signature) -> Score:
        """Return what scores rows with a model that `save` wrote."""

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:
        """Return the model that `save` wrote as ONNX, its one output ``score`` [rows, 1].

        Raises:
            Uncompilable: If it cannot be expressed exactly; the native model serves then.
        """
