"""What every answer carries and every request must meet, since loopback has no login.

A page of any other site can make a browser send requests to 127.0.0.1. Three rules keep it
out: the Host must be a name of this machine (a foreign one that resolves here is refused),
what changes something must come from our own pages, and our pages load nothing from
anywhere else and run no script or style written into them.
"""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from setpoint.errors import Denied
from setpoint.server import problems

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SAFE = {"GET", "HEAD", "OPTIONS"}


class Guard:
    """Middleware that applies the rules of this module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message["headers"])
                named = {name for name, _ in own}
                message["headers"] = own + [one for one in _HEADERS if one[0] not in named]
            await send(message)

        refusal = refused(scope["method"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, guarded)
        else:
            await problems.response(refusal)(scope, receive, guarded)


def refused(method: str, headers: Headers) -> Denied | None:
    """Return why a request may not pass; None if it may."""
    host = headers.get("host", "")
    if not _local(host):
        return Denied(
            f"this server does not answer for {host or 'a request without Host'!r}",
            hint="open it as http://127.0.0.1:PORT or http://localhost:PORT",
        )
    if method in _SAFE:
        return None
    origin = headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != host
    if foreign or headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}:
        return Denied(
            "a page of another site may not change anything here",
            where=origin or "",
            hint="",
        )
    return None


@lru_cache(maxsize=64)  # a client names us the same way in every request
def _local(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
