"""What becomes of a request that is not answered in its endpoint's time.

The version that is at work, whatever it is at work for, is the one that failed: a canary does
not answer for the live version that keeps it waiting. What would answer for a version that
fails answers here too, and it is recorded likewise, with the status 504.
"""

import copy
from collections.abc import Sequence

from msgspec.structs import replace

from setpoint.errors import Unavailable
from setpoint.serve import scoring
from setpoint.serve.arms import Arm, ModelFailed
from setpoint.serve.choosing import Choice
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.protocols import Floats, Given
from setpoint.serve.v2 import Rows
from setpoint.serve.watched import Watched

STATUS = 504


class TimedOut(Unavailable):
    """A request was not answered in the time that its endpoint has."""

    code = "timed-out"


def in_place_of(
    endpoint: Endpoint,
    rows: Rows,
    keys: Sequence[str],
    version: Choice,
    seconds: float,
    *,
    rescue: bool = True,
) -> list[scoring.Part]:
    """Return what takes the place of the parts of a request that took longer than `seconds`.

    With `rescue`, the baseline scores it in this call, where there is one.
    """
    why = f"no answer within {seconds:g} s"
    to_blame = _at_work(endpoint)
    late = copy.copy(endpoint)
    late.live = _Late(endpoint.live, why)
    late.live.fallback = endpoint.live.fallback if rescue else None
    late.canary = None if endpoint.canary is None else _Late(endpoint.canary, why)
    late.shadow = None if endpoint.shadow is None else _Late(endpoint.shadow, why)
    late.arms = [(name, _Late(arm, why)) for name, arm in endpoint.arms]
    parts = scoring.score(late, rows, keys, version)
    return [
        replace(part, failed=to_blame or part.failed, status=STATUS) if part.failed else part
        for part in parts
    ]


class _Late(Arm):
    """Stands for an arm that has not answered: it is not asked again."""

    def __init__(self, arm: Arm, why: str) -> None:
        super().__init__(arm.version, arm.predictor)
        self._why = why

    def answer(self, rows: Rows) -> tuple[Floats, Given | None]:  # noqa: ARG002
        raise ModelFailed(f"version {self.version}: {self._why}")


def _at_work(endpoint: Endpoint) -> int:
    """Return the version that keeps the others waiting, 0 if none does."""
    arms = (endpoint.live, endpoint.canary, endpoint.shadow, *(arm for _, arm in endpoint.arms))
    for arm in arms:
        if arm is not None and isinstance(arm.predictor, Watched) and arm.predictor.busy:
            return arm.version
    return 0
