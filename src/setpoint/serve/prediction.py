"""A request for predictions, read, and what was answered, whatever protocol it is of."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from setpoint.serve import v2
from setpoint.serve.choosing import Choice
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.outputs import Told
from setpoint.serve.protocols import Given


class Asked(Struct, frozen=True, gc=False):
    """A request for predictions, read."""

    endpoint: Endpoint
    rows: v2.Rows
    started: int  #: `perf_counter_ns` when reading began
    at_us: int
    request_id: str
    ids: list[str]
    keys: Sequence[str]
    version: Choice = 0  #: who is to answer all rows; 0: whoever routing says


class Predicted(Struct, frozen=True, gc=False):
    """What was answered, row by row."""

    endpoint: Endpoint
    request_id: str
    ids: list[str]
    versions: list[int]
    scores: list[float]  #: NaN where a row lacks what its version needs
    fallback: bool = False  #: a version failed and its baseline answered, for some rows at least
    given: Given = {}  #: what the model gave besides scores
    #: the arm of each row, or its part in a release; none where no test runs and nobody is named
    arms: list[str] = []

    def told(self, names: Sequence[str] = ()) -> list[Told]:
        """Return the outputs of these names, or those that are answered unasked.

        Raises:
            Invalid: If there is no such output.
        """
        outputs = self.endpoint.outputs
        return outputs.told(outputs.chosen(names), self.scores, self.given)

    def classified(self) -> tuple[list[str], Any]:
        """Return the names of the classes, and ``[n, classes]`` probabilities."""
        return self.endpoint.outputs.classified(self.scores, self.given)

    @property
    def version(self) -> int:
        """The version that answered; the live one where several did."""
        versions, live = self.versions, self.endpoint.live.version
        first = versions[0] if versions else live
        return first if versions.count(first) == len(versions) else live
