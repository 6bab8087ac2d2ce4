"""A stream of events as Amazon's clients read it: ``application/vnd.amazon.eventstream``.

A message is its length and that of its headers, a sum of these two, the headers, the payload and
a sum of everything before; numbers are big-endian, sums are CRC-32. A header is its name behind a
byte of length, the byte 7 for a text, and the text behind two bytes of length.

Source: Smithy, "Amazon Event Stream Specification",
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
from collections.abc import Mapping
from zlib import crc32

KIND = b"application/vnd.amazon.eventstream"
_TEXT = 7  #: the type of a header's value
_SUM = struct.Struct(">I")
_PRELUDE = struct.Struct(">II")
_AROUND = _PRELUDE.size + 2 * _SUM.size  #: bytes of a message besides headers and payload


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one message.

    Example:
        >>> message({}, b"").hex(" ", 4)
        '00000010 00000000 05c248eb 7d98c8ff'
    """
    told = b"".join(_header(name, value) for name, value in headers.items())
    prelude = _PRELUDE.pack(_AROUND + len(told) + len(payload), len(told))
    body = prelude + _SUM.pack(crc32(prelude)) + told + payload
    return body + _SUM.pack(crc32(body))


def event(name: str, payload: bytes, kind: str = "application/octet-stream") -> bytes:
    """Return an event of a stream, whose payload is of a content type."""
    headers = {":event-type": name, ":content-type": kind, ":message-type": "event"}
    return message(headers, payload)


def _header(name: str, value: str) -> bytes:
    word, text = name.encode(), value.encode()
    return struct.pack(f">B{len(word)}sBH", len(word), word, _TEXT, len(text)) + text
