"""MLflow's REST API over one kept connection."""

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from setpoint.errors import Denied, Invalid, NotFound, Unavailable
from setpoint.transfer.mlflow import Login

FILES = "/api/2.0/mlflow-artifacts/artifacts"
_API = "/api/2.0/mlflow/"
_PAGE = 1_000
_PIECE = 1 << 20


class Api:
    """Errors name the server, and say what to do."""

    def __init__(self, where: str, login: Login) -> None:
        self.where = where
        self._headers = {"content-type": "application/json", **_authorization(login)}
        self._parts = urlsplit(where)
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, what: str, asked: dict[str, Any], *, get: bool = False) -> Any:
        """Return the answer to one call, e.g. ``runs/search``.

        Raises:
            NotFound: If the server does not know what is asked for.
            Denied: If it wants to know who asks.
            Invalid: If it speaks something else.
            Unavailable: If it does not answer, or says that it failed.
        """
        if get:
            reply = self._send("GET", f"{_API}{what}?{urlencode(asked)}")
        else:
            reply = self._send("POST", _API + what, json.dumps(asked).encode())
        content = reply.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise Invalid(f"{self.where} does not speak MLflow's REST", where=str(error)) from None

    def paged(self, what: str, items: str, *, get: bool = False, **asked: Any) -> Iterator[Any]:
        """Yield the items of all pages."""
        token = ""
        while True:
            page = {"page_token": token} if token else {}
            answer = self.ask(what, {"max_results": _PAGE, **asked, **page}, get=get)
            yield from answer.get(items, [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def files(self, folder: str) -> list[dict[str, Any]]:
        """Return what is directly in a folder of the server's own artifacts."""
        reply = self._send("GET", f"{FILES}?{urlencode({'path': folder})}")
        found: list[dict[str, Any]] = json.loads(reply.read()).get("files", [])
        return found

    def download(self, path: str) -> Iterator[bytes]:
        reply = self._send("GET", path)
        while piece := reply.read(_PIECE):
            yield piece

    def put(self, path: str, chunks: Iterator[bytes], size: int) -> None:
        """Send a file in pieces. Not sent again if the connection breaks: pieces are gone."""
        self.close()
        connection = self._connect()
        headers = {**self._headers, "content-length": str(size)}
        headers["content-type"] = "application/octet-stream"
        try:
            connection.request("PUT", self._parts.path.rstrip("/") + path, chunks, headers)
            reply = connection.getresponse()
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise Unavailable(f"{self.where} does not answer", where=str(error)) from None
        if reply.status != http.client.OK:
            raise self._refused(path, reply)
        reply.read()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        """Send one request; a connection that was closed meanwhile is opened again, once."""
        kept = self._connection is not None
        try:
            return self._exchange(method, path, body)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            if not kept:
                raise Unavailable(f"{self.where} does not answer", where=str(error)) from None
        try:
            return self._exchange(method, path, body)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise Unavailable(f"{self.where} does not answer", where=str(error)) from None

    def _exchange(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        connection = self._connection or self._connect()
        connection.request(method, self._parts.path.rstrip("/") + path, body, self._headers)
        reply = connection.getresponse()
        if reply.status != http.client.OK:
            raise self._refused(path, reply)
        return reply

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=60)
        return self._connection

    def _refused(self, path: str, reply: http.client.HTTPResponse) -> Exception:
        said = reply.read().decode("utf-8", "replace")[:500]
        call = path.partition("?")[0]
        if reply.status in {401, 403}:
            return Denied(f"{self.where} refuses us", hint="give --token, or --user and --password")
        if reply.status == http.client.NOT_FOUND:
            return NotFound(f"{self.where} has nothing at {call}", where=said)
        return Unavailable(f"{self.where} answered {reply.status} to {call}", where=said)


def _authorization(login: Login) -> dict[str, str]:
    if login.token:
        return {"authorization": f"Bearer {login.token}"}
    if login.user:
        pair = f"{login.user}:{login.password}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}
