"""What a kind of model (a flavor) implements, and what serving asks of a loaded one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from setpoint.models.entities import Input, Label, Signature

Floats: TypeAlias = NDArray[np.float64]
#: One float matrix [rows, inputs], or one array or list [rows] per input name.
Rows: TypeAlias = NDArray[Any] | Mapping[str, Sequence[Any] | NDArray[Any]]
#: Rows in, one score a row out: the probability of the positive class, or the value.
Score: TypeAlias = Callable[[Rows], Floats]
#: All that a model gives, by name, ``score`` among it if there is one: arrays [n, …].
Given: TypeAlias = dict[str, NDArray[Any]]
#: Rows in, what the model's own library returns out: an array, arrays by name, a data frame.
Ask: TypeAlias = Callable[[Rows], Any]


class Predictor(Protocol):
    """A loaded version: thread-safe, and nothing is kept between calls."""

    inputs: list[Input]

    def predict(self, rows: Rows) -> Any:
        """Return one float64 a row, `Floats`: the probability of the positive class, or the value.

        A model whose signature has outputs gives them all by name instead: `Given`.

        Raises:
            Invalid: If a column is missing, has another length or cannot be a number.
        """


class Classifies(Protocol):
    """What a flavor may implement whose files say what their models tell apart."""

    def classes(self, data: bytes) -> list[Label]:
        """Return the classes of a model that `Flavor.save` wrote, in the order of its
        probabilities; nothing if it is no classifier, or answers something else than those.
        """


class Flavor(Protocol):
    """How one kind of model is recognised, stored, loaded and compiled.

    A package brings a flavor of its own by an entry point in the group ``setpoint.flavors``,
    whose name is the flavor's; `setpoint.testing.flavors` has the tests that it must pass.
    """

    def detect(self, model: Any) -> bool:
        """Tell whether this flavor is the right one: for a trained model in memory, or for the
        `pathlib.Path` of a file or folder that its own library wrote.
        """

    def save(self, model: Any) -> bytes:
        """Return the model, or what is at its path, as bytes."""

    def load(self, data: bytes, signature: Signature) -> Ask:
        """Return what asks a model that `save` wrote; `models.flavors.answers` reads its answers.

        Of a classifier that is [n, k] probabilities where it has them.
        """

    def to_onnx(self, data: bytes, signature: Signature) -> bytes:
        """Return the model that `save` wrote as ONNX, with one output.

        That is ``score`` [rows, 1], or the array that the signature has in its place, by its
        name, say ``probabilities`` [rows, classes]: `Signature.sole`.

        Raises:
            Uncompilable: If it cannot be expressed exactly; the native model serves then.
        """
