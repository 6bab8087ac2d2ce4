"""What a loaded model must do to be served."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Input(Protocol):
    """One input of a model."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str:
        """Return the V2 datatype: ``FP64``, ``INT64``, ``BOOL``, ``BYTES``, …"""


class Predictor(Protocol):
    """A model version in memory."""

    @property
    def inputs(self) -> Sequence[Input]:
        """Return the inputs in the order of the columns of a matrix."""

    def predict(self, rows: Floats | Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Score rows.

        Args:
            rows: ``[n, k]`` float64 in the order of `inputs` where all of them are
                numeric, else one array of ``n`` values per input name (float64, or
                objects of ``str | None`` for BYTES).

        Returns:
            ``[n]`` float64: the positive class's probability, or the value.
        """


#: ``(model, version) -> Predictor``
Load = Callable[[str, int], Predictor]

#: ``(model, version) -> Predictor``: what answers when that version fails; None: nothing
Fallback = Callable[[str, int], Predictor | None]
