"""Asking a server as a browser or a program would, without a library in between."""

import http.client
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

BROWSER = {"accept": "text/html,*/*"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(
    url: str,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request and return the answer; redirects are not followed."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, path, body, headers or BROWSER)
        reply = connection.getresponse()
        named = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, named, reply.read())
    finally:
        connection.close()


def send(
    url: str, path: str, form: dict[str, str], headers: dict[str, str] | None = None
) -> Answer:
    """Send a form as our own page would."""
    own = {**BROWSER, "origin": url, "content-type": "application/x-www-form-urlencoded"}
    return ask(
        url,
        path,
        method="POST",
        body=urlencode(form).encode(),
        headers=own | (headers or {}),
    )


def call(url: str, operation: str, body: bytes = b"{}") -> Answer:
    """Call an operation of the JSON API."""
    json = {"content-type": "application/json"}
    return ask(url, f"/api/v1/{operation}", method="POST", body=body, headers=json)
