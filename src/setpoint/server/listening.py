"""How an application is put on a port of this machine."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from itertools import cycle as in_turn

import httptools
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from setpoint.artifacts.contract import CHUNK
from setpoint.server.pieces import DIRECT

_LARGE = 2 * CHUNK  #: bytes of a body from which it is worth it to pass the parser by


class Protocol(HttpToolsProtocol):
    """uvicorn's, but bodies are copied less: large ones come from the socket into our memory.

    A request whose body is large and of known length has `DIRECT` among its ASGI extensions.
    """

    _missing = 0  #: bytes of the body that have not arrived

    def on_headers_complete(self) -> None:
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        self._missing = int(length) if length.isdigit() else 0
        super().on_headers_complete()
        if self._missing >= _LARGE:
            self.scope["extensions"] = {DIRECT: {"rest": partial(self._rest, self.cycle)}}

    def on_body(self, body: bytes) -> None:
        self._missing -= len(body)
        cycle = self.cycle
        if cycle.body or cycle.response_complete:
            super().on_body(body)
            return
        # Bytes do for what uvicorn does with it: it adds to it and takes a copy, here the same.
        cycle.body = body  # type: ignore[assignment]
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    async def _rest(self, cycle: RequestResponseCycle) -> AsyncIterator[bytes | memoryview]:
        """Yield the rest of a body; a piece is overwritten when the one after the next is asked.

        Raises:
            ClientDisconnect: If the connection ends before.
        """
        arrived, cycle.body = cycle.body, bytearray()
        if arrived:
            yield bytes(arrived)
        if not cycle.more_body:  # then another request may have begun
            return
        direct = _Direct(self, cycle, self._missing)
        self.transport.set_protocol(direct)
        async for piece in direct.pieces():
            yield piece

    def take_back(self, cycle: RequestResponseCycle) -> None:
        """Go on after a body that passed the parser by: it waits for it still, so with another."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        cycle.more_body = False
        cycle.message_event.set()
        self.transport.set_protocol(self)
        self.flow.resume_reading()


class _Direct(asyncio.BufferedProtocol):
    """Has a connection until the rest of a body has come, in two pieces of memory by turns.

    While one is worked on the other fills; when that is full the client waits.
    """

    def __init__(self, before: Protocol, cycle: RequestResponseCycle, missing: int) -> None:
        self._before = before
        self._cycle = cycle
        self._missing = missing
        self._piece = memoryview(b"")
        self._filled = 0  #: bytes of the piece
        self._full = asyncio.Event()

    async def pieces(self) -> AsyncIterator[memoryview]:
        memory = in_turn([memoryview(bytearray(min(CHUNK, self._missing))) for _ in range(2)])
        while self._missing:
            self._piece, self._filled = next(memory)[: self._missing], 0
            self._full.clear()
            self._before.flow.resume_reading()
            await self._full.wait()
            if self._cycle.disconnected:
                raise ClientDisconnect
            yield self._piece

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        if self._filled == len(self._piece):  # nobody asked for more: it was answered already
            self._filled = 0
        return self._piece[self._filled : self._filled + self._missing]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        self._missing -= nbytes
        if not self._missing:
            self._full.set()
            self._before.take_back(self._cycle)
        elif self._filled == len(self._piece) and not self._cycle.response_complete:
            self._before.flow.pause_reading()
            self._full.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)
        self._full.set()

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()


def config(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """Return the settings: no header of a proxy is believed, and no request is logged."""
    return uvicorn.Config(
        app,
        host,
        port,
        http=Protocol,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=2,
    )
