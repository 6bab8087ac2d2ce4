"""What an answer tells besides its body: headers over HTTP, metadata over gRPC.

Clients and proxies end a connection over kilobytes of them, and over bytes that are no text. So of
many rows they tell less, and what is not ASCII they tell in percent, as an address would.
"""

from collections.abc import Sequence
from urllib.parse import quote

from setpoint.serve.exchange import (
    ARM_HEADER,
    FALLBACK_HEADER,
    ID_HEADER,
    VERSION_HEADER,
    Headers,
)
from setpoint.serve.prediction import Predicted

LONGEST_HEADER = 4_000  #: bytes of one; proxies take 4 to 8 kB of all headers, clients up to 64
_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")  #: what is printed of ASCII


def headers_of(predicted: Predicted, longest: int = LONGEST_HEADER) -> Headers:
    """Return which rows were predicted, by which version and arm, and whether another stood in.

    Args:
        predicted: What was answered.
        longest: Bytes of one value.
    """
    ids = _ids(predicted.ids, longest)
    return (
        *(((ID_HEADER, ids),) if ids else ()),
        (VERSION_HEADER, versions_of(predicted, longest)),
        *(((FALLBACK_HEADER, b"true"),) if predicted.fallback else ()),
        *arm_headers(predicted, longest),
    )


def versions_of(predicted: Predicted, longest: int = LONGEST_HEADER) -> bytes:
    """Return the version that answered, or one a row where several did."""
    return _by_row(predicted.versions or [predicted.version], longest)


def arm_headers(predicted: Predicted, longest: int = LONGEST_HEADER) -> Headers:
    """Return the header that says which arms answered, where a test runs or one was named."""
    return ((ARM_HEADER, _by_row(predicted.arms, longest)),) if predicted.arms else ()


def _by_row(values: Sequence[object], longest: int) -> bytes:
    """Return what all rows have; else one a row; of very many rows each that there is, once."""
    if values.count(values[0]) == len(values):
        return _ascii(str(values[0]))
    told = _ascii(",".join(map(str, values)))
    return told if len(told) <= longest else _ascii(",".join(map(str, dict.fromkeys(values))))


def _ids(ids: Sequence[str], longest: int) -> bytes:
    """Return the ids of rows; of very many the first and the last, and of very long ones nothing.

    Ours are numbered from one to the other, and others the client has.
    """
    told = _ascii(",".join(ids))
    if len(told) > longest:
        told = _ascii(f"{ids[0]},...,{ids[-1]}")
    return told if len(told) <= longest else b""


def _ascii(text: str) -> bytes:
    return text.encode() if text.isascii() else quote(text, safe=_SAFE).encode()
