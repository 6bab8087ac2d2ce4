"""What a loaded model must do to be served, and where models come from."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from setpoint.models.explaining.explainer import Explainer
from setpoint.serve.entities import Described, Names, Wanted

Floats = NDArray[np.float64]
#: What a model gives, by the names of its outputs: arrays ``[n, …]``.
Given = dict[str, NDArray[Any]]


class Input(Protocol):
    """One input of a model."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str:
        """Return the V2 datatype: ``FP64``, ``INT64``, ``BOOL``, ``BYTES``, …

        An input may have besides: ``shape``, of one row, where that is a tensor; ``raw``, whether
        its BYTES are any bytes and not text.
        """


class Predictor(Protocol):
    """A model version in memory.

    One that gives more than a score has besides a ``signature``, as `models.entities` has it.
    """

    @property
    def inputs(self) -> Sequence[Input]:
        """Return the inputs in the order of the columns of a matrix."""

    def predict(self, rows: Floats | Mapping[str, NDArray[Any]]) -> NDArray[Any] | Given:
        """Score rows.

        Args:
            rows: ``[n, k]`` float64 in the order of `inputs` where all of them are
                numeric, else one array of ``n`` values per input name (float64, or
                objects of ``str | None`` for BYTES, of bytes where those are raw; ``[n, …]``
                where an input is a tensor).

        Returns:
            ``[n]`` float64: the positive class's probability, or the value. Of a model with
            outputs all of them by name, ``score`` among them if it has one.
        """


#: ``(model, version) -> Predictor``
Load = Callable[[str, int], Predictor]

#: ``(model, version) -> Predictor``: what answers when that version fails; None: nothing
Fallback = Callable[[str, int], Predictor | None]

#: ``address -> bytes``: of what was kept with an endpoint's settings
Kept = Callable[[str], bytes]

#: ``(model, version, its predictor) -> Explainer``
Explains = Callable[[str, int, Predictor], Explainer]

#: ``(model, version) -> rows``: some that it was trained on, as it takes them; None: none
Backgrounds = Callable[[str, int], Any]

#: ``(generations by model) -> models``: which endpoints are to be looked at
Due = Callable[[Mapping[str, int]], Collection[str]]


class Source(Protocol):
    """Where a server learns what to serve, and gets it: a store, or a package."""

    def deployed(self, due: Due) -> tuple[dict[str, int], dict[str, Wanted]]:
        """Return the generation of every endpoint, and what is wanted of those that are due.

        Raises:
            Unavailable: If it cannot be told now.
        """

    def loader(self, model: str, version: int) -> Callable[[], Predictor]:
        """Return what brings a version into memory, here or in a process that it is sent to."""

    def baseline(self, model: str, version: int) -> Predictor | None:
        """Return what answers when that version fails; None: nothing."""

    def background(self, model: str, version: int) -> Any:
        """Return some rows that a version was trained on, as it takes them; None: there are none.

        Raises:
            SetpointError: If they cannot be read now.
        """

    def described(self, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Described]:
        """Return what is known of versions without loading them; of some, maybe nothing.

        Raises:
            Unavailable: If it cannot be told now.
        """

    def names(self, policies: Mapping[str, str]) -> dict[str, Names]:
        """Return which versions can be asked for, by model, for policies as `naming` reads them.

        Raises:
            Unavailable: If it cannot be told now.
        """

    def kept(self, address: str) -> bytes:
        """Return what was kept with an endpoint's settings, by its address.

        Raises:
            SetpointError: If it cannot be read.
        """

    def explainer(self, model: str, version: int, predictor: Predictor) -> Explainer:
        """Return what explains a version that was loaded.

        Raises:
            Conflict: If it cannot be explained.
            Unavailable: If what it needs cannot be read now.
        """
