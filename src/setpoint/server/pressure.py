"""As many requests at once as memory has room for; who comes beyond is told when to come again.

Every client of ours, MLflow's and W&B's wait and send again when they are told so. Without it,
ten thousand of them at once are ten thousand bodies in memory.
"""

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from setpoint.artifacts.contract import CHUNK
from setpoint.errors import Unavailable
from setpoint.server import problems

_ROOM = 64 * 1024 * 1024  #: bytes of bodies at once; decoded and joined they are a few times that
_LEAST = 16 * 1024  #: bytes that a request takes whatever its body
_UNTOLD = 4 * 1024 * 1024  #: bytes counted for a body that does not say how long it is
_AGAIN = 1  #: seconds


class Gate:
    """Middleware that lets in what there is room for, and always one."""

    def __init__(self, app: ASGIApp, room: int = _ROOM) -> None:
        self._app = app
        self._room = room
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = _size(scope)
        if size and self._held and self._held + size > self._room:
            await _full()(scope, receive, send)
            return
        self._held += size
        try:
            await self._app(scope, receive, send)
        finally:
            self._held -= size


def _size(scope: Scope) -> int:
    """Return how many bytes a request may take; those that only read take none here."""
    if scope["type"] != "http" or scope["method"] not in {"POST", "PUT", "PATCH"}:
        return 0
    said = Headers(scope=scope).get("content-length", "")
    size = int(said) if said.isdecimal() else _UNTOLD
    if scope["method"] == "PUT":  # a file: two pieces wait while two are written
        size = min(size, 4 * CHUNK)
    return max(size, _LEAST)


def _full() -> Response:
    told = problems.response(
        Unavailable("the server has more requests than it has room for", hint="send it again")
    )
    told.headers["retry-after"] = str(_AGAIN)
    return told
