"""What a client may cost: time, memory and connections, each with an end.

uvicorn waits for whatever a client leaves half said, and keeps whatever it says: a few clients that
send a byte now and then, or read nothing, would hold the server's memory and files for ever. Here
a connection that neither brings nor takes anything for a while is ended, a head has a largest
size, and where there are too many connections those that nobody uses make room.
"""

import resource
from collections.abc import Collection
from heapq import nlargest
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

LARGEST_HEAD = 65_536  #: bytes of a request's address and headers
IDLE_SECONDS = 75.0  #: that a connection may be kept between requests
LEAST_PACE = 1_000  #: bytes a second; whoever brings or takes less for a while is ended
_OVERHEAD = 8  #: bytes around each byte of a body sent in pieces, amply
_MOST_DROPPED = 16_777_216  #: bytes of a body that was refused, read so that its client sees why
_MOST_FILES = 65_536
_KEPT_FILES = 128  #: for the log, the store and whatever else is no client

Connections = Collection[Any]  # of `Guarded`


class Guarded(HttpToolsProtocol):
    """uvicorn's protocol with an end to what a client may take."""

    seconds = 30.0  #: that a client may keep the server waiting, for its request or to read
    most = 1_000  #: connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._between = True  # no request is half read by uvicorn
        self._head = b""  # a known head whose body is on its way
        self._got = 0  # bytes since the last look
        self._unsent = 0  # bytes of answers, at the last look
        self._quiet = 0.0  # seconds for which the client has been slower than it may be
        self._over = 0  # bytes of this request that are not its body
        self._body = 0  # those that are
        self._fault = HTTPStatus.BAD_REQUEST

    def connection_made(self, transport: Any) -> None:
        full = len(self.connections) >= self.most and not _make_room(self.connections)
        super().connection_made(transport)
        if full:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._over += len(data)
        super().data_received(data)
        if not self._between and self._over > LARGEST_HEAD + _OVERHEAD * self._body:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._between = False
        self._over = self._body = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if size > LARGEST_HEAD:
            self._fault = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise ValueError(size)  # as any other head that is none: `send_400_response`
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._over -= len(body)
        self._body += len(body)
        cycle: Any = self.cycle
        if cycle.response_complete and self._body > _MOST_DROPPED:
            self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no request, behind the answers to those that were."""
        if self._is_our_turn():
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        elif self._fault is not HTTPStatus.BAD_REQUEST:
            self._refuse(self._fault)
        else:
            super().send_400_response(msg)

    def look(self, passed: float) -> None:
        """End the connection if its client has kept the server waiting for too long.

        Args:
            passed: Seconds since the last look.
        """
        got, self._got = self._got, 0
        unsent = self.transport.get_write_buffer_size()
        sent, self._unsent = self._unsent - unsent, unsent
        idle = self.is_idle()
        if (
            max(got, sent) >= LEAST_PACE * passed
            or (idle and got)
            or (not unsent and self._is_our_turn())
        ):
            self._quiet = 0.0
            return
        self._quiet += passed
        if unsent:
            if self._quiet > self.seconds:
                self.transport.abort()
        elif idle:
            if self._quiet > IDLE_SECONDS:
                self.transport.close()
        elif self._quiet > self.seconds:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _is_our_turn(self) -> bool:
        """Whether a request was read whole that is not answered."""
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def is_idle(self) -> bool:
        """Whether nothing is on its way, either way."""
        cycle: Any = self.cycle
        return self._between and not self._head and (cycle is None or cycle.response_complete)

    def uselessness(self) -> tuple[bool, float]:
        """Return what orders connections by how little is lost with them, the least last."""
        return not self._got, self._quiet

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, unless this request has an answer already, and hang up."""
        cycle: Any = self.cycle
        if cycle is None or not cycle.more_body or not cycle.response_started:
            words = status.phrase.encode()
            self.transport.write(
                STATUS_LINE[status] + b"content-type: text/plain; charset=utf-8\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(words), words)
            )
        self.transport.close()


def look(connections: Connections, passed: float) -> None:
    """Look at all connections; see `Guarded.look`."""
    for one in list(connections):
        one.look(passed)


def most_connections() -> int:
    """Let this process open as many files as the system allows, and return how many may be clients.

    Whoever started it may have the usual limit of 1,024, at which accepting fails and whoever
    comes then waits for ever.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted - _KEPT_FILES, wanted // 2)


def _make_room(connections: Connections) -> bool:
    """Hang up on the connections that are of least use, a few at a time; tell if there were any."""
    idle = [one for one in connections if one.is_idle() and not one.transport.is_closing()]
    few = nlargest(len(connections) // 50 + 1, idle, key=Guarded.uselessness)
    for one in few:
        one.transport.close()
    return bool(few)
