"""A request and its reply, whatever protocol they are of."""

from collections.abc import Mapping

from msgspec import Struct

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
#: The version that answered a request; the ids of its rows, by commas.
VERSION_HEADER = b"setpoint-model-version"
ID_HEADER = b"setpoint-prediction-id"
#: There where another answered than should have: see `serve.fallback`.
FALLBACK_HEADER = b"setpoint-fallback"
#: The arm of a test that answered a request, or its rows, by commas.
ARM_HEADER = b"setpoint-arm"

Headers = tuple[tuple[bytes, bytes], ...]


class Request(Struct, frozen=True, gc=False):
    """A request, whole."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]  #: by their names in lower case
    body: bytes = b""  #: unpacked

    def header(self, name: bytes) -> str:
        """Return a header's value, empty if it was not sent."""
        value = self.headers.get(name)
        return value.decode("latin-1").strip() if value else ""


class Reply(Struct, frozen=True, gc=False):
    """What is sent back."""

    body: bytes
    status: int = 200
    kind: bytes = JSON
    headers: Headers = ()
