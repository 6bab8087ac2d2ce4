"""Which rows a model was trained on: a compact file that answers "was this one?" at once.

Layout, little-endian::

    8 bytes   magic "SPROWS1" and a zero
    8 bytes   n, the number of distinct ids
    8·n       their 64-bit hashes (BLAKE3 of the UTF-8 id, first 8 bytes), ascending
    the rest  the ids themselves in the order given, one Parquet column ``id`` (zstd)

A look-up reads 64 kB where the hash would stand, whatever the size. Two ids
share a hash with probability n / 2**64 a look-up: 5e-14 at a million rows.
"""

import io
import struct
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from setpoint.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

_MAGIC = b"SPROWS1\0"
_HEAD = struct.Struct("<8sQ")
_REACH = 4_096  #: places to each side of the likely one: 8 standard deviations at a million ids

#: Reads an artifact's bytes from one place to before another.
Read = Callable[[int, int], bytes]


def encode(ids: "Sequence[str] | pl.Series") -> bytes:
    """Return the artifact for these row ids; a Series of another type is read as text.

    Raises:
        Invalid: If an id is null.
    """
    import polars as pl  # noqa: PLC0415 - looking a row up needs none of it

    column = ids if isinstance(ids, pl.Series) else pl.Series(ids, dtype=pl.String)
    column = column.cast(pl.String).alias("id")
    if column.null_count():
        raise Invalid(
            f"{column.null_count():,} of {len(column):,} training rows have no id",
            hint="the entity column of the spec must be filled in every row",
        )
    digests = b"".join([blake3(each.encode()).digest(8) for each in column.to_list()])
    hashes = np.unique(np.frombuffer(digests, dtype="<u8"))
    listing = io.BytesIO()
    column.to_frame().write_parquet(listing, compression="zstd", statistics=False)
    return _HEAD.pack(_MAGIC, len(hashes)) + hashes.tobytes() + listing.getvalue()


def contains(rows: Read | bytes, row: str) -> bool:
    """Tell whether `row` is among the ids of an artifact, given as its bytes or a way to read them.

    Hashes are spread evenly, so where one would stand is known but for some hundred places.
    """
    read = _reader(rows)
    size = count(read)
    wanted = int.from_bytes(_digest(row), "little")
    place, reach = (wanted * size) >> 64, _REACH
    while True:
        start, stop = max(0, place - reach), min(size, place + reach)
        hashes = memoryview(read(_HEAD.size + 8 * start, _HEAD.size + 8 * stop)).cast("Q")
        below = start == 0 or hashes[0] <= wanted
        if below and (stop == size or hashes[-1] >= wanted):
            at = bisect_left(hashes, wanted)
            return at < len(hashes) and hashes[at] == wanted
        reach *= 8


def count(rows: Read | bytes) -> int:
    """Return the number of distinct ids."""
    head = _reader(rows)(0, _HEAD.size)
    if len(head) < _HEAD.size or head[:8] != _MAGIC:
        raise Invalid("these bytes are no set of training rows")
    found: int = _HEAD.unpack(head)[1]
    return found


def ids(rows: bytes) -> "pl.Series":
    """Return the ids in the order they were given, as a Series of text."""
    import polars as pl  # noqa: PLC0415

    return pl.read_parquet(io.BytesIO(rows[_HEAD.size + 8 * count(rows) :]))["id"]


def _reader(rows: Read | bytes) -> Read:
    return (lambda start, stop: rows[start:stop]) if isinstance(rows, bytes) else rows


def _digest(row: str) -> bytes:
    return blake3(row.encode()).digest(length=8)
