"""Identifiers: a readable prefix, then 26 characters that sort by creation time."""

import os
import time
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32: no I, L, O, U


def new_id(prefix: str, at: datetime | None = None) -> str:
    """Return e.g. ``run_01JD9Z6T3N8V5K2Q7W4XBYHMRA``; unique without coordination.

    48 bits of Unix milliseconds (`at`, or the system's time) followed by 80 random bits,
    as in the ULID specification, so that ids made later compare greater.
    """
    millis = time.time_ns() // 1_000_000 if at is None else int(at.timestamp() * 1000)
    value = millis << 80 | int.from_bytes(os.urandom(10), "big")
    digits = [_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(digits)}"
