"""Integer arrays as few bytes: the narrowest type that fits, sparse where that is less."""

import numpy as np

from setpoint.profiles.values import Ints

Packed = tuple[int, str, bytes, str, bytes]  #: length, type and bytes of places, of values


def pack(values: Ints) -> Packed:
    """Return `values` packed; they are counts, so most are small and many are zero."""
    places = np.flatnonzero(values)
    held = values[places]
    kind = _narrowest(held)
    width = _narrowest(places[-1:])
    if len(places) * (kind.itemsize + width.itemsize) < len(values) * kind.itemsize:
        return (
            len(values),
            width.char,
            places.astype(width).tobytes(),
            kind.char,
            held.astype(kind).tobytes(),
        )
    return len(values), "", b"", kind.char, values.astype(kind).tobytes()


def unpack(packed: Packed) -> Ints:
    length, width, places, kind, held = packed
    values = np.frombuffer(held, dtype=f"<{kind}").astype(np.int64)
    if not width:
        return values
    whole = np.zeros(length, dtype=np.int64)
    whole[np.frombuffer(places, dtype=f"<{width}")] = values
    return whole


def _narrowest(values: Ints) -> "np.dtype[np.signedinteger]":
    """Return the narrowest little-endian type of `values`; none has int8."""
    reach = max(int(values.max()), -int(values.min())) if len(values) else 0
    for kind in ("b", "h", "i"):
        if reach <= np.iinfo(kind).max:
            return np.dtype(f"<{kind}")
    return np.dtype("<q")
