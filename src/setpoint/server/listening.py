"""How an application is put on a port of this machine."""

import uvicorn
from starlette.types import ASGIApp


def config(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """Return the settings: no header of a proxy is believed, and no request is logged."""
    return uvicorn.Config(
        app,
        host,
        port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=2,
    )
