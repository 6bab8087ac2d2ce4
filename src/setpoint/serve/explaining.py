"""Why a version scores rows as it does, asked of the server: beside predictions, never before them.

One thread of its own computes, so that neither the event loop nor a slow model's thread waits for
it, and its work is mostly NumPy's and ONNX Runtime's, which hold no lock of Python. Nothing is
logged: an explanation is no prediction.
"""

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from setpoint.errors import Invalid, NotFound, SetpointError
from setpoint.models.explaining.entities import Explanation
from setpoint.models.explaining.explainer import Explainer
from setpoint.serve.arms import Arm
from setpoint.serve.batching import Crowded
from setpoint.serve.bringing import Bringing
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.following import Endpoints
from setpoint.serve.metrics import Metrics
from setpoint.serve.problems import status_of
from setpoint.serve.v2 import Rows

MOST_ROWS = 32  #: of a request: one may take a second
MOST_AT_ONCE = 8  #: requests that are computed or wait; then clients are told to come again

_log = logging.getLogger(__name__)


class Explained(Struct, frozen=True):
    """Rows' scores, explained by one version."""

    model: str
    version: int
    explanations: list[Explanation]


class Explaining:
    """Explains what the versions behind endpoints answer. Used by the event loop alone."""

    def __init__(self, endpoints: Endpoints, metrics: Metrics, bringing: Bringing) -> None:
        self._endpoints = endpoints
        self._metrics = metrics
        self._bringing = bringing
        self._pool: ThreadPoolExecutor | None = None
        self._asked = 0
        self._known: dict[tuple[str, int], tuple[Any, Explainer]] = {}  # the thread's own

    async def explain(self, endpoint: Endpoint, rows: Rows, version: int = 0) -> Explained:
        """Explain rows by a version, by the live one where that is 0.

        Raises:
            Invalid: If there are too many rows, or an input is missing that the version needs.
            Conflict: If the version was kept without what explaining takes.
            Crowded: If too many ask at once.
            SetpointError: If the model fails.
        """
        if endpoint.absent:
            endpoint = await self._bringing.whole(endpoint, endpoint.settings.timeout)
        arm = _arm(endpoint, version)
        try:
            found = await self._explain(endpoint, arm, rows)
        except SetpointError as error:
            self._metrics.explained(endpoint.model, arm.version, status_of(error), 0)
            raise
        self._metrics.explained(endpoint.model, arm.version, 200, rows.count)
        return Explained(endpoint.model, arm.version, found)

    def forget(self, model: str, versions: Iterable[int]) -> None:
        """Let go of what explains versions that were given up; any thread may call it."""
        for version in versions:
            self._known.pop((model, version), None)

    def close(self) -> None:
        """Let what is computed end, and nothing that waits begin."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    async def _explain(self, endpoint: Endpoint, arm: Arm, rows: Rows) -> list[Explanation]:
        _check(arm, rows)
        if self._asked >= MOST_AT_ONCE:
            raise Crowded(
                f"{self._asked} requests for explanations are being computed or wait",
                hint="send it again in a second, or fewer at once",
            )
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explaining")
        self._asked += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._compute, endpoint.model, arm, rows)
        finally:
            self._asked -= 1

    def _compute(self, model: str, arm: Arm, rows: Rows) -> list[Explanation]:
        try:
            return self._explainer(model, arm).explain(arm.given(rows))
        except SetpointError:
            raise
        except Exception as error:  # noqa: BLE001 - a model is foreign code
            _log.exception("explaining failed", extra={"model": model, "version": arm.version})
            raise SetpointError(
                f"version {arm.version} of {model!r} failed: {type(error).__name__}: {error}",
                hint="the server's log has the traceback",
            ) from None

    def _explainer(self, model: str, arm: Arm) -> Explainer:
        known = self._known.get((model, arm.version))
        if known is None or known[0] is not arm.predictor:
            served = self._endpoints.all()
            for name, version in list(self._known):
                now = served.get(name)
                if now is None or version not in {one.version for one in now.deployed}:
                    self._known.pop((name, version), None)
            known = arm.predictor, self._endpoints.explainer(model, arm)
            self._known[model, arm.version] = known
        return known[1]


def _arm(endpoint: Endpoint, version: int) -> Arm:
    named = (arm for _, arm in endpoint.arms)
    several = (endpoint.live, endpoint.canary, endpoint.shadow, *named)
    arms = [arm for arm in several if arm is not None]
    found = next((arm for arm in arms if version in {0, arm.version}), None)
    if found is None:
        raise NotFound(
            f"version {version} of {endpoint.model!r} is not served here",
            hint=f"served now: {', '.join(str(arm.version) for arm in arms)}",
        )
    return found


def _check(arm: Arm, rows: Rows) -> None:
    if rows.count > MOST_ROWS:
        raise Invalid(
            f"{rows.count} rows are too many to explain in one request",
            hint=f"send up to {MOST_ROWS}",
        )
    missing = sorted(rows.absent.intersection(arm.names))
    if missing:
        raise Invalid(
            f"version {arm.version} needs the inputs {', '.join(missing)}", hint="send them, too"
        )
