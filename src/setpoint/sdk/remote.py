"""Operations behind HTTP: the same calls, the same results, the same errors."""

import http.client
import random
import threading
import time
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from setpoint.artifacts.contract import ObjectStore
from setpoint.core.operations import Operation
from setpoint.core.problems import Problem, to_error
from setpoint.errors import Invalid, SetpointError, Unavailable

C = TypeVar("C")
R = TypeVar("R")

_FULL = http.client.SERVICE_UNAVAILABLE
_TRIES = 8  #: of a request that a full server did not take
_JSON, _MSGPACK = "application/json", "application/msgpack"


class HttpBackend:
    """Runs operations on a Setpoint server; every thread keeps a connection of its own."""

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Invalid(f"{url!r} is no address of a server", hint="e.g. http://127.0.0.1:8765")
        self.url = url.rstrip("/")
        self._parts = parts
        self._timeout = timeout
        self._local = threading.local()

    def call(self, op: Operation[C, R], cmd: C) -> R:
        """Run `op` on the server.

        Raises:
            SetpointError: The error the server raised, of the same class.
            Unavailable: If the server cannot be reached or answers nonsense.
        """
        path = f"{self._parts.path.rstrip('/')}/api/v1/{op.name}"
        body = msgspec.msgpack.encode(cmd)
        status, content = self._exchange(path, body, again=op.reads)
        if status != http.client.OK:
            raise _error(status, content, self.url)
        try:
            return msgspec.msgpack.decode(content, type=op.result)
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"the server's answer to {op.name} cannot be read: {error}",
                where=self.url,
                hint="use the same version of Setpoint on both ends",
            ) from None

    def missing(self, addresses: list[str]) -> list[str]:
        """Return those of the addresses whose objects the server does not have."""
        path = f"{self._parts.path.rstrip('/')}/objects"
        status, content = self._exchange(
            path, msgspec.json.encode(addresses), again=True, media=_JSON
        )
        if status != http.client.OK:
            raise _error(status, content, self.url)
        return msgspec.json.decode(content, type=list[str])

    def put(self, store: ObjectStore, address: str) -> None:
        """Send an object under its address, in pieces.

        Raises:
            SetpointError: If it is not in `store`, or arrived as something else.
            Unavailable: If the server cannot be reached.
        """
        path = f"{self._parts.path.rstrip('/')}/objects/{address}"
        headers = {"content-length": str(store.size(address))}
        try:
            connection = self._connection()
            connection.request("PUT", path, store.chunks(address), headers)
            reply = connection.getresponse()
            content = reply.read()
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise self._unreachable(error) from None
        if reply.status not in {http.client.CREATED, http.client.NO_CONTENT}:
            raise _error(reply.status, content, self.url)

    def close(self) -> None:
        """Close this thread's connection; the next call opens another."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _exchange(
        self, path: str, body: bytes, *, again: bool, media: str = _MSGPACK
    ) -> tuple[int, bytes]:
        """Send one request. A kept connection that the server closed meanwhile is replaced.

        Only what changes nothing is sent `again` after it may have reached the server.
        """
        kept = getattr(self._local, "connection", None) is not None
        try:
            return self._send(path, body, media)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            refused = isinstance(error, http.client.RemoteDisconnected | BrokenPipeError)
            if not (kept and (again or refused)):
                raise self._unreachable(error) from None
        try:
            return self._send(path, body, media)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise self._unreachable(error) from None

    def _send(self, path: str, body: bytes, media: str) -> tuple[int, bytes]:
        """Send one request, anew for as long as the server is full and says when to."""
        left = _TRIES
        while True:
            connection = self._connection()
            connection.request("POST", path, body, {"content-type": media, "accept": media})
            reply = connection.getresponse()
            content = reply.read()
            after = reply.headers.get("retry-after", "")
            left -= 1
            if reply.status != _FULL or not after.isdecimal() or not left:
                return reply.status, content
            time.sleep(int(after) * random.uniform(0.5, 1.5))  # noqa: S311 - not all at once

    def _connection(self) -> http.client.HTTPConnection:
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if kept is None:
            secure = self._parts.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            kept = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
            self._local.connection = kept
        return kept

    def _unreachable(self, error: Exception) -> Unavailable:
        reason = str(error) or type(error).__name__
        return Unavailable(
            f"cannot reach {self.url}",
            where=reason,
            hint="is it running? start it: setpoint up",
        )


def _error(status: int, content: bytes, url: str) -> SetpointError:
    try:
        return to_error(msgspec.json.decode(content, type=Problem))
    except msgspec.DecodeError:
        return Unavailable(
            f"the server answered {status} without saying why",
            where=url,
            hint="check that the address is a Setpoint server's",
        )
