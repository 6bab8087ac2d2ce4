"""How an application is put on a port of this machine."""

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """uvicorn's, but what has arrived of a body is handed over as it is, not copied twice."""

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.body or cycle.response_complete:
            super().on_body(body)
            return
        # Bytes do for what uvicorn does with it: it adds to it and takes a copy, here the same.
        cycle.body = body  # type: ignore[assignment]
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()


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
