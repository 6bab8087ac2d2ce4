"""Requests that wait until what they ask is in memory; one load, however many wait for it."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from setpoint.errors import Unavailable
from setpoint.serve.batching import Crowded
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.holding import Holding
from setpoint.serve.lanes import Lane
from setpoint.serve.memory import Key
from setpoint.serve.timing import TimedOut

_log = logging.getLogger(__name__)


class Bringing:
    """Has a thread bring into memory what is asked. Used by one event loop."""

    def __init__(self, held: Holding) -> None:
        self._held = held
        self._lane = Lane("loading", 1, behind=True)
        self._coming: dict[Key, asyncio.Future[Endpoint]] = {}
        self._waiting: dict[Key, int] = {}

    async def whole(self, endpoint: Endpoint, left: float | None = None) -> Endpoint:
        """Return an endpoint with its versions in memory, for a request that has `left` seconds.

        Raises:
            Crowded: If too many wait for it already.
            TimedOut: If it did not come in time; loading goes on.
            Unavailable: If it does not load, or takes other inputs by now.
        """
        key, waiting = endpoint.key, self._waiting.get(endpoint.key, 0)
        if waiting >= endpoint.settings.queue:
            self._held.metrics.refuse(endpoint.model, "queue")
            raise Crowded(
                f"{waiting} requests wait until the model {endpoint.model!r} is loaded",
                hint="send it again in a second, or fewer at once",
            )
        self._waiting[key] = waiting + 1
        try:
            async with asyncio.timeout(None if left is None else max(left, 0.0)):
                found = await asyncio.shield(self._loaded(endpoint))
        except TimeoutError:
            raise TimedOut(
                f"the model {endpoint.model!r} was not loaded in time",
                hint="it is being loaded: send it again; POST /v2/repository/models/MODEL/load "
                "keeps it in memory",
            ) from None
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
        if found.inputs.specs != endpoint.inputs.specs:
            raise Unavailable(
                f"the model {endpoint.model!r} was replaced by one with other inputs meanwhile",
                hint="send it again",
            )
        return found

    def is_coming(self, endpoint: Endpoint) -> bool:
        """Tell whether an endpoint is being loaded, or is to be."""
        return endpoint.key in self._coming

    async def pin(self, endpoint: Endpoint) -> None:
        """Load an endpoint, and keep it in memory until it is given up by hand.

        Raises:
            Conflict: If it does not fit beside what else is pinned.
            Unavailable: If it does not load.
        """
        await self._lane.run(partial(self._held.bring, endpoint, pin=True))

    async def give_up(self, endpoint: Endpoint) -> bool:
        """Let go of what an endpoint has in memory until it is asked; tell if it had anything."""
        found: bool = await self._lane.run(self._held.give_up, endpoint.key)
        return found

    def close(self) -> None:
        """Let the thread end once it has done what is to be done."""
        self._lane.close()

    def _loaded(self, endpoint: Endpoint) -> "asyncio.Future[Endpoint]":
        key = endpoint.key
        found = self._coming.get(key)
        if found is None:
            found = self._coming[key] = self._lane.run(self._held.bring, endpoint)
            found.add_done_callback(partial(self._came, key))
        return found

    def _came(self, key: Key, done: "asyncio.Future[Endpoint]") -> None:
        del self._coming[key]
        with suppress(asyncio.CancelledError):
            done.exception()  # whoever waited may have gone: it is told to nobody, then
