"""What a protocol over HTTP is made of."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from setpoint.errors import NotFound, SetpointError
from setpoint.serve import problems, v2
from setpoint.serve.answering import Answering
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import Role
from setpoint.serve.exchange import Reply, Request
from setpoint.serve.prediction import Asked, Predicted

_DIGITS = 10  #: of a version that there may be


class Asking(NamedTuple):
    """A request for predictions, read, and how its answer is written."""

    asked: Asked
    written: Callable[[Predicted], Reply]


def _nothing(serving: Answering, endpoint: Endpoint, request: Request) -> None:
    """Read no request."""


class Protocol(NamedTuple):
    """One of the protocols that the port speaks."""

    owns: Callable[[str], bool]  #: whether a path is of this protocol
    answer: Callable[[Answering, Request], Awaitable[Reply]]
    failed: Callable[[int, SetpointError], Reply]  #: an error in its own shape, of this status
    #: reads a plain request for predictions (see `serve.lane`) of the endpoint that its address
    #: names; None where that takes long
    asking: Callable[[Answering, Endpoint, Request], Asking | None] = _nothing


async def predicted(serving: Answering, asking: Asking) -> Reply:
    """Answer a request that was read."""
    return asking.written(await serving.predict(asking.asked))


def failed(status: int, error: SetpointError) -> Reply:
    """Return an error as most protocols have it: ``{"error": text}``."""
    return Reply(v2.encode({"error": problems.said(error)}), status)


def nowhere(request: Request, hint: str = "") -> problems.Nowhere:
    """Return the error of an address that nothing answers, or nothing of this method."""
    return problems.Nowhere(f"nothing answers {request.method} {request.path[:200]}", hint=hint)


def numbered(serving: Answering, endpoint: Endpoint, text: str) -> tuple[Endpoint, int]:
    """Return what answers for the version of this number.

    Returns:
        The endpoint, and which of its versions; 0 where it is of that version alone.

    Raises:
        NotFound: If it is not served here.
    """
    served = {one.version: one.role for one in endpoint.deployed}
    number = int(text) if text.isdecimal() and len(text) < _DIGITS else 0
    named = serving.endpoints.named(endpoint.model, number)
    if named is not None and served.get(number, Role.SHADOW) is Role.SHADOW:
        return named, 0
    if number in served:
        return endpoint, number
    others = [
        each for each in serving.endpoints.names(endpoint.model).numbers if each not in served
    ]
    by_number = f"; by number: {', '.join(map(str, others))}" if others else ""
    raise NotFound(
        f"version {text[:40]} of {endpoint.model!r} is not served here",
        hint=f"served now: {', '.join(map(str, served))}{by_number}",
    )


def labelled(serving: Answering, endpoint: Endpoint, label: str) -> tuple[Endpoint, int] | None:
    """Return what answers for a version by its part in a release, arm or alias; None: nothing."""
    if label in endpoint.routes:
        return endpoint, endpoint.routes[label]
    number = serving.endpoints.names(endpoint.model).labels.get(label)
    return None if number is None else numbered(serving, endpoint, str(number))


def labels_of(serving: Answering, endpoint: Endpoint) -> str:
    """Return what `labelled` knows, for a hint."""
    named = serving.endpoints.names(endpoint.model).labels
    return ", ".join(dict.fromkeys([*endpoint.routes, *named]))
