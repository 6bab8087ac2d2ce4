"""A short way for the requests that matter: for predictions, whole, on a kept connection.

uvicorn's protocol parses HTTP, makes a scope, a task and events for every request: about
half of what a prediction costs. A client sends the same head again and again, so a head
that was read once (strictly, and found to be plain) is known by its bytes from then on, and
the request is answered where it arrives. Everything else (another method or path, a body in
pieces, an encoding, a slow model, a client that does not read) goes uvicorn's way, and
neither the application nor the client can tell which way it was.
"""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from setpoint.serve import cloudevents, v2_binary
from setpoint.serve.awake import Awake
from setpoint.serve.exchange import Reply
from setpoint.serve.guarding import Guarded, most_connections

_START = b"POST /"
_NAME = r"([A-Za-z0-9._~%-]+)"
#: Who asks for predictions, in the words of each protocol; the first group is of V2.
_FIRST = re.compile(
    rf"POST (/v2/models/{_NAME}/infer|/v1/models/{_NAME}:predict|/invocations"
    rf"|/models/{_NAME}/(?:invoke|invocations)|/endpoints/{_NAME}/invocations) HTTP/1\.1".encode()
)
_ESCAPED = re.compile(rb"%(?:2f|3a)", re.IGNORECASE)  #: what parts an address, once unquoted
_LINE = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
_DIGITS = re.compile(rb"[0-9]{1,8}")
_LONGEST_HEAD = 2_048
_LONGEST_BODY = 262_144  #: longer ones come in pieces, or are refused before they come
_MOST_HEADS = 4_096
_QUIET_SECONDS = 0.5  #: for what was sent before its client could know of the end

#: Headers that change nothing about the answer. A head with any other takes the long way.
_PLAIN = frozenset(
    b"host user-agent accept accept-encoding content-type content-length traceparent "
    b"inference-header-content-length".split()
)


class Head(NamedTuple):
    """What the head of a plain request for predictions says."""

    model: str  #: that a request of V2 asks; empty: it is of another protocol
    length: int  #: of the body
    json: int  #: how much of the body is JSON, tensors following; 0: all
    path: str = ""
    headers: Mapping[bytes, bytes] = {}  #: by their names in lower case


#: ``(head, body) -> reply``, or None to have the request go the long way
Answer = Callable[[Head, bytes], Reply | None]


def read_head(head: bytes) -> Head | None:
    """Return what the head of a plain request for predictions says, None for any other.

    Args:
        head: From the request line to the empty line, without the last two line ends.
    """
    first, *lines = head.split(b"\r\n")
    asked = _FIRST.fullmatch(first)
    if asked is None or _ESCAPED.search(first):
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        field = _LINE.fullmatch(line)
        if field is None:
            return None
        name, value = field[1].lower(), field[2]
        if name in headers or not _is_plain(name, value):
            return None
        headers[name] = value
    sizes = _sizes(headers.get(b"content-length", b""), headers.get(v2_binary.HEADER, b""))
    if sizes is None or cloudevents.is_one(headers):
        return None
    path, model = (unquote((part or b"").decode("ascii")) for part in asked.groups()[:2])
    return Head(model, *sizes, path, headers)


def _is_plain(name: bytes, value: bytes) -> bool:
    return value.lower() == b"keep-alive" if name == b"connection" else name in _PLAIN


def _sizes(length: bytes, of_json: bytes) -> tuple[int, int] | None:
    """Return the lengths of a body and of its JSON, None if they are not said plainly."""
    if not _DIGITS.fullmatch(length) or (of_json and not _DIGITS.fullmatch(of_json)):
        return None
    whole, json = int(length), int(of_json or b"0")
    return (whole, json) if not of_json or 0 < json <= whole else None


def lane(answer: Answer, after: Callable[[], None], seconds: float = 30.0) -> type[Guarded]:
    """Return uvicorn's protocol with the short way built in.

    Args:
        answer: Answers a request for predictions at once.
        after: Called when an answer was handed to the system.
        seconds: That a client may keep the server waiting; see `Guarded`.
    """
    members: dict[str, Any] = {"answer": staticmethod(answer), "after": staticmethod(after)}
    members |= {"heads": {}, "awake": Awake(), "seconds": seconds, "most": most_connections()}
    return type("Lane", (_Lane,), members)


def later(head: Head, body: bytes) -> None:
    """Leave every request to the long way."""


class _Lane(Guarded):
    answer: Answer
    after: Callable[[], None]
    awake: Awake  #: of all connections
    draining = False  #: whether the server is about to end
    heads: dict[bytes, Head | None]  #: what is known of heads, of all connections

    def data_received(self, data: bytes) -> None:
        self.awake.came(id(self))
        self._got += len(data)
        if self._head:
            data, self._head = self._head + data, b""
        if not self._between or not self._take(data):
            super().data_received(data)

    @classmethod
    def drain(cls) -> None:
        """Have every answer from now on be its connection's last, on the long way."""
        cls.answer = staticmethod(later)
        cls.draining = True

    def shutdown(self) -> None:
        """Close the connection once what was sent on it is answered, or nothing comes."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
        else:
            self.loop.call_later(_QUIET_SECONDS, self._close_if_quiet)

    def _close_if_quiet(self) -> None:
        if self.is_idle():
            self.transport.close()

    def on_headers_complete(self) -> None:
        before: Any = self.cycle
        super().on_headers_complete()
        if self.draining:
            if before is not None and not before.response_started:
                before.keep_alive = True  # there is another to be answered behind it
            self.cycle.keep_alive = False

    def _take(self, data: bytes) -> bool:
        """Answer the request in `data`, or keep its head; False if it is not for us."""
        cycle: Any = self.cycle  # None before the first request that went the long way
        if (cycle is not None and not cycle.response_complete) or self.flow.write_paused:
            return False
        end = data.find(b"\r\n\r\n", 0, _LONGEST_HEAD)
        head = data[:end] if end > 0 else b""
        known = self.heads[head] if head in self.heads else self._learn(head)
        if known is None:
            return False
        body = data[end + 4 :]
        if len(body) == known.length:
            found = self.answer(known, body)
            if found is not None:
                self._write(found)
            return found is not None
        if body or known.length > _LONGEST_BODY:
            return False
        self._head = data
        return True

    def _learn(self, head: bytes) -> Head | None:
        if not head.startswith(_START):
            return None
        if len(self.heads) >= _MOST_HEADS:
            self.heads.clear()
        self.heads[head] = known = read_head(head)
        return known

    def _write(self, reply: Reply) -> None:
        self._unset_keepalive_if_required()
        self.server_state.total_requests += 1
        body = reply.body
        more = b"".join([b"%b: %b\r\n" % told for told in reply.headers])
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (reply.status, _reason(reply.status), reply.kind, len(body), more, body)
        )
        self.after()
        self.awake.answered(self.loop.call_soon)


def _reason(status: int) -> bytes:
    return b"OK" if status == 200 else HTTPStatus(status).phrase.encode()
