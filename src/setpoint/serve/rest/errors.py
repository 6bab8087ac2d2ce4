"""What is wrong with a request, in words and as a status."""

from setpoint.errors import Conflict, Denied, Invalid, NotFound, SetpointError, Unavailable

FAILED = "the server failed; its log says why"


class TooLarge(Invalid):
    """The body is longer than the server reads."""

    code = "too-large"


_STATUS: tuple[tuple[type[SetpointError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (Invalid, 400),
    (Denied, 403),
    (Unavailable, 503),
)


def status_of(error: SetpointError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def said(error: SetpointError) -> str:
    """Return what, where and what to do in one line."""
    text = error.message
    if error.where:
        text += f" (at {error.where})"
    if error.hint:
        text += f"; {error.hint}"
    return text
