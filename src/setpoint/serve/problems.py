"""What is wrong with a request, in words and as a status."""

from setpoint.errors import Conflict, Denied, Invalid, NotFound, SetpointError, Unavailable
from setpoint.serve.batching import Crowded
from setpoint.serve.timing import TimedOut

FAILED = "the server failed; its log says why"


class TooLarge(Invalid):
    """The body is longer than the server reads."""

    code = "too-large"


class Unsupported(Invalid):
    """The body is in a format that is not read."""

    code = "unsupported"


class Nowhere(NotFound):
    """Nothing answers this method at this address."""


class NotAllowed(Invalid):
    """The address is answered, though not to this method."""

    code = "not-allowed"


#: Seconds after which a client that was refused because of others may come again.
RETRY_AFTER = 1

_STATUS: tuple[tuple[type[SetpointError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (NotAllowed, 405),
    (TooLarge, 413),
    (Unsupported, 415),
    (Invalid, 400),
    (Denied, 403),
    (Crowded, 429),
    (TimedOut, 504),
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
