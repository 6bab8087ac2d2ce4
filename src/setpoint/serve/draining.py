"""Ending without losing anything that was accepted.

On the first signal the server says that it is not ready, accepts no more connections, answers
what is on its way and says in each answer that it was the connection's last. A connection on
which nothing comes is closed after a moment: what was sent before its client could know has
come by then. What is not answered in the drain's time is given up, as at a second signal.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvicorn

from setpoint.serve import guarding
from setpoint.serve.answering import Answering
from setpoint.serve.listening import refuse_more

_LOOK_SECONDS = 0.02
_LOOK_AFTER_SECONDS = 1.0

#: Stops another way of being asked, in so many seconds
Stop = Callable[[float], Awaitable[None]]

_logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Tells when it is ready, and stops by signals without dying of them."""

    def __init__(
        self, config: uvicorn.Config, app: Answering, seconds: float, begun: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._app = app
        self._seconds = seconds
        self._begun = begun  #: called once it answers
        self._looked = time.monotonic()  # at the connections
        self.until = 0.0  #: `time.monotonic` when the drain ends; 0: it has not begun
        self.stop_too: Stop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()
        gc.freeze()  # what starting made stays: no collection need look at it again

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections now and then, and keep what was counted."""
        passed = time.monotonic() - self._looked
        if passed >= _LOOK_AFTER_SECONDS:
            self._looked += passed
            guarding.look(self.server_state.connections, passed)
            if self._app.siblings is not None:
                with contextlib.suppress(OSError):  # the disk is full: then what was kept counts
                    self._app.siblings.keep(self._app.counts())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was accepted."""
        self.until = time.monotonic() + self._seconds
        self.config.http_protocol_class.drain()  # type: ignore[attr-defined]
        self._app.draining = True
        if self._app.siblings is not None:
            self._app.siblings.withdraw()
        also = None
        if self.stop_too is not None:
            also = asyncio.ensure_future(self.stop_too(self._seconds))
        for one in sockets or []:
            if self._app.siblings is None:  # else who takes our place accepts from it
                refuse_more(one)
        await asyncio.sleep(_LOOK_SECONDS)  # what waits to be accepted still is
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        while state.connections or state.tasks or not (also is None or also.done()):
            if self.force_exit or time.monotonic() > self.until:
                self._give_up()
                break
            await asyncio.sleep(_LOOK_SECONDS)

    def _give_up(self) -> None:
        left = len(self.server_state.tasks)
        if left:
            _logger.error("requests not answered: the time to end is over", extra={"count": left})
        for task in self.server_state.tasks:
            task.cancel(msg="the time to end is over")
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for one in caught:
            loop.add_signal_handler(one, self._stop)
        try:
            yield
        finally:
            for one in caught:
                loop.remove_signal_handler(one)

    def _stop(self) -> None:
        self.force_exit = self.should_exit  # a second signal does not wait
        self.should_exit = True


def tell(ready: Path, port: int) -> None:
    """Write to a file, whole, which process answers on which port."""
    ready.parent.mkdir(parents=True, exist_ok=True)
    aside = ready.with_suffix(".new")
    aside.write_text(json.dumps({"pid": os.getpid(), "port": port}))
    aside.rename(ready)
