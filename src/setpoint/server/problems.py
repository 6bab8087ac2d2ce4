"""Which HTTP status each kind of error has, and its document."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from setpoint.core.problems import to_problem
from setpoint.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    SetpointError,
    Unavailable,
    UserCodeFailed,
)

STATUS: dict[type[SetpointError], int] = {
    Invalid: 400,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    UserCodeFailed: 422,
    Unavailable: 503,
}


class TooLarge(Invalid):
    """The body is larger than this server takes."""


STATUS[TooLarge] = 413


def status_of(error: SetpointError) -> int:
    """Return the HTTP status of an error's kind."""
    return next((STATUS[c] for c in type(error).__mro__ if c in STATUS), 500)


def response(error: SetpointError) -> Response:
    """Return `error` as ``application/problem+json``."""
    status = status_of(error)
    body = msgspec.json.encode(to_problem(error, status))
    return Response(body, status, media_type="application/problem+json")


def internal() -> SetpointError:
    """Return what is said of a failure nobody foresaw: nothing of its inside."""
    return SetpointError(
        "the server failed to answer this request",
        hint="the server's log has the details; nothing was changed",
    )


def wants_page(request: Request) -> bool:
    """Whether a person in a browser asked, and not a program."""
    return "text/html" in request.headers.get("accept", "")
