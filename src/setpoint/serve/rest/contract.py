"""What a protocol over HTTP is made of."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from setpoint.errors import NotFound, SetpointError
from setpoint.serve import problems, v2
from setpoint.serve.answering import Answering, Predicted
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.exchange import ARM_HEADER, ID_HEADER, VERSION_HEADER, Headers, Reply, Request


class Protocol(NamedTuple):
    """One of the protocols that the port speaks."""

    owns: Callable[[str], bool]  #: whether a path is of this protocol
    answer: Callable[[Answering, Request], Awaitable[Reply]]
    failed: Callable[[int, SetpointError], Reply]  #: an error in its own shape, of this status


def headers_of(predicted: Predicted) -> Headers:
    """Return the headers that say which rows were predicted, and by which version."""
    return (
        (ID_HEADER, ",".join(predicted.ids).encode()),
        (VERSION_HEADER, b"%d" % predicted.version),
        *arm_headers(predicted),
    )


def arm_headers(predicted: Predicted, *, by_row: bool = True) -> Headers:
    """Return the header that says which arms answered, where a test runs or one was named.

    Not `by_row`, it names each once: where the body tells more, the header stays short.
    """
    told = predicted.told_arms if by_row else ",".join(dict.fromkeys(predicted.arms))
    return ((ARM_HEADER, told.encode()),) if told else ()


def failed(status: int, error: SetpointError) -> Reply:
    """Return an error as most protocols have it: ``{"error": text}``."""
    return Reply(v2.encode({"error": problems.said(error)}), status)


def nowhere(request: Request, hint: str = "") -> NotFound:
    """Return the error of an address that nothing answers."""
    return NotFound(f"nothing answers {request.method} {request.path[:200]}", hint=hint)


def numbered(endpoint: Endpoint, text: str) -> int:
    """Return the version of this number.

    Raises:
        NotFound: If it is not served here.
    """
    served = [one.version for one in endpoint.deployed]
    if text.isdecimal() and int(text) in served:
        return int(text)
    raise NotFound(
        f"version {text} of {endpoint.model!r} is not served here",
        hint=f"served now: {', '.join(map(str, served))}",
    )
