"""HTTP by hand: requests as bytes, answers read off a socket with nothing between."""

import socket
from typing import NamedTuple

import msgspec

BODY = msgspec.json.encode(
    {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]}]}
)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Cut(Exception):  # an outcome
    """The server hung up before there was a whole answer."""


def request(path: str, body: bytes | None = None, *more: str, method: str = "") -> bytes:
    """Return a request; with a body it is a POST and says its length."""
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "host: a", *more]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def infer(body: bytes = BODY, *more: str, model: str = "m") -> bytes:
    return request(f"/v2/models/{model}/infer", body, *more)


class Wire:
    """A connection."""

    def __init__(self, port: int, seconds: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._left = b""

    def __del__(self) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> "Wire":
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def answer(self, begun: bytes = b"") -> Answer:
        """Return the next answer, of which somebody read the first bytes already.

        Raises:
            Cut: If the server hangs up first.
        """
        self._left += begun
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        status = int(first.split()[1])
        size = 0 if status < 200 else int(headers["content-length"])
        while len(self._left) < size:
            self._more()
        body, self._left = self._left[:size], self._left[size:]
        return Answer(status, headers, body)

    def rest(self) -> bytes:
        """Return what comes until the server hangs up."""
        found, self._left = self._left, b""
        try:
            while piece := self.socket.recv(1 << 16):
                found += piece
        except ConnectionResetError:
            pass
        return found

    def ask(self, sent: bytes) -> Answer:
        return self.send(sent).answer()

    def close(self) -> None:
        self.socket.close()

    def _more(self) -> None:
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise Cut
        self._left += piece
