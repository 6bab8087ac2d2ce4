"""A short way for the one request that matters: infer, whole, on a kept connection.

uvicorn's protocol parses HTTP, makes a scope, a task and events for every request: about
half of what a prediction costs. A client sends the same head again and again, so a head
that was read once (strictly, and found to be plain) is known by its bytes from then on, and
the request is answered where it arrives. Everything else (another method or path, a body in
pieces, an encoding, a slow model, a client that does not read) goes uvicorn's way, and
neither the application nor the client can tell which way it was.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from setpoint.serve.awake import Awake
from setpoint.serve.guarding import Guarded, most_connections

_START = b"POST /v2/models/"
_FIRST = re.compile(rb"POST /v2/models/([A-Za-z0-9._~%-]+)/infer HTTP/1\.1")
_LINE = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
_DIGITS = re.compile(rb"[0-9]{1,8}")
_LONGEST_HEAD = 2_048
_LONGEST_BODY = 262_144  #: longer ones come in pieces, or are refused before they come
_MOST_HEADS = 4_096
_QUIET_SECONDS = 0.5  #: for what was sent before its client could know of the end

_OF_JSON = b"inference-header-content-length"
#: Headers that change nothing about the answer. A head with any other takes the long way.
_PLAIN = frozenset(
    b"host user-agent accept accept-encoding content-type content-length traceparent".split()
)

#: Which model is asked, the length of the body, and that of its JSON: 0 where it is all JSON.
Head = tuple[str, int, int]
#: ``(model, body, length of its JSON) -> (status, body, length of its JSON)``, or None to have it
#: go the long way
Answer = Callable[[str, bytes, int], tuple[int, bytes, int] | None]

_RAW = b"application/octet-stream\r\ninference-header-content-length: %d"
_REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 503: b"Service Unavailable"}


def read_head(head: bytes) -> Head | None:
    """Return what the head of a plain infer request says, None for any other.

    Args:
        head: From the request line to the empty line, without the last two line ends.
    """
    first, *lines = head.split(b"\r\n")
    asked = _FIRST.fullmatch(first)
    if asked is None:
        return None
    lengths: list[bytes] = []
    of_json: list[bytes] = []
    for line in lines:
        field = _LINE.fullmatch(line)
        if field is None:
            return None
        name, value = field[1].lower(), field[2]
        if name == b"content-length":
            lengths.append(value)
        elif name == _OF_JSON:
            of_json.append(value)
        elif name == b"connection":
            if value.lower() != b"keep-alive":
                return None
        elif name not in _PLAIN:
            return None
    sizes = _sizes(lengths, of_json)
    return None if sizes is None else (unquote(asked[1].decode("ascii")), *sizes)


def _sizes(lengths: list[bytes], of_json: list[bytes]) -> tuple[int, int] | None:
    """Return the lengths of a body and of its JSON, None if they are not said plainly."""
    if len(lengths) != 1 or len(of_json) > 1:
        return None
    if not all(_DIGITS.fullmatch(each) for each in (*lengths, *of_json)):
        return None
    length, json = int(lengths[0]), int(of_json[0]) if of_json else 0
    return (length, json) if not of_json or 0 < json <= length else None


def lane(answer: Answer, after: Callable[[], None], seconds: float = 30.0) -> type[Guarded]:
    """Return uvicorn's protocol with the short way built in.

    Args:
        answer: Answers an infer request at once.
        after: Called when an answer was handed to the system.
        seconds: That a client may keep the server waiting; see `Guarded`.
    """
    members: dict[str, Any] = {"answer": staticmethod(answer), "after": staticmethod(after)}
    members |= {"heads": {}, "awake": Awake(), "seconds": seconds, "most": most_connections()}
    return type("Lane", (_Lane,), members)


def _later(model: str, body: bytes, json: int) -> None:
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
        cls.answer = staticmethod(_later)
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
        if len(body) == known[1]:
            found = self.answer(known[0], body, known[2])
            if found is not None:
                self._write(*found)
            return found is not None
        if body or known[1] > _LONGEST_BODY:
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

    def _write(self, status: int, body: bytes, json: int) -> None:
        self._unset_keepalive_if_required()
        self.server_state.total_requests += 1
        told = _RAW % json if json else b"application/json"
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (status, _REASONS.get(status, b"Error"), told, len(body), body)
        )
        self.after()
        self.awake.answered(self.loop.call_soon)
