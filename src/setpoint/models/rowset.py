"""Which rows a model was trained on: a compact file that answers "was this one?" at once.

Layout, little-endian::

    8 bytes   magic "SPROWS1" and a zero
    8 bytes   n, the number of distinct ids
    8·n       their 64-bit hashes (BLAKE3 of the UTF-8 id, first 8 bytes), ascending
    the rest  the ids themselves in the order given, one Parquet column ``id`` (zstd)

A look-up maps the file and bisects the hashes: microseconds, whatever the size. Two ids
share a hash with probability n / 2**64 a look-up: 5e-14 at a million rows.
"""

import io
import mmap
import struct
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from setpoint.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

_MAGIC = b"SPROWS1\0"
_HEAD = struct.Struct("<8sQ")


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


def contains(rows: Path | bytes, row: str) -> bool:
    """Tell whether `row` is among the ids of an artifact, given as a file or as bytes."""
    if isinstance(rows, bytes):
        return _bisect(memoryview(rows), row)
    with (
        rows.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
    ):
        view = memoryview(held)
        try:
            return _bisect(view, row)
        finally:
            view.release()


def count(rows: Path | bytes) -> int:
    """Return the number of distinct ids."""
    if isinstance(rows, bytes):
        return _count(memoryview(rows))
    with rows.open("rb") as file:
        return _count(memoryview(file.read(_HEAD.size)))


def ids(rows: Path | bytes) -> "pl.Series":
    """Return the ids in the order they were given, as a Series of text."""
    import polars as pl  # noqa: PLC0415

    data = rows if isinstance(rows, bytes) else rows.read_bytes()
    start = _HEAD.size + 8 * _count(memoryview(data))
    return pl.read_parquet(io.BytesIO(data[start:]))["id"]


def _digest(row: str) -> bytes:
    return blake3(row.encode()).digest(length=8)


def _count(view: memoryview) -> int:
    if len(view) < _HEAD.size or bytes(view[:8]) != _MAGIC:
        raise Invalid("these bytes are no set of training rows")
    found: int = _HEAD.unpack_from(view)[1]
    return found


def _bisect(view: memoryview, row: str) -> bool:
    size = _count(view)
    with view[_HEAD.size : _HEAD.size + 8 * size] as part, part.cast("Q") as hashes:
        wanted = int.from_bytes(_digest(row), "little")
        at = bisect_left(hashes, wanted)
        return at < size and hashes[at] == wanted
