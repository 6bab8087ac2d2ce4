"""What a protocol over HTTP is made of."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from setpoint.errors import SetpointError
from setpoint.serve.answering import Answering, Predicted
from setpoint.serve.exchange import ID_HEADER, VERSION_HEADER, Headers, Reply, Request


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
    )
