"""Ids and times as `core` makes them, only cheaper: the hot path needs one of each a request."""

import os
import time
from collections.abc import Callable

from setpoint.core.clock import Clock, SystemClock, to_micros

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_MILLIS = range(40, -1, -10)
_POOL = 10 * 400


def maker(prefix: str) -> Callable[[int], str]:
    """Return a function from microseconds since 1970 to a new id.

    Random bytes are asked of the system 400 ids at a time. Not for use across `fork`.
    """
    pool, at = b"", 0
    when, head = -1, ""

    def make(at_us: int) -> str:
        nonlocal pool, at, when, head
        if at >= len(pool):
            pool, at = os.urandom(_POOL), 0
        if at_us // 1000 != when:
            when = at_us // 1000
            head = prefix + "_" + "".join([_PAIRS[when >> shift & 1023] for shift in _MILLIS])
        v = int.from_bytes(pool[at : at + 10])
        at += 10
        p = _PAIRS
        return (
            f"{head}{p[v >> 70]}{p[v >> 60 & 1023]}{p[v >> 50 & 1023]}{p[v >> 40 & 1023]}"
            f"{p[v >> 30 & 1023]}{p[v >> 20 & 1023]}{p[v >> 10 & 1023]}{p[v & 1023]}"
        )

    return make


def micros_of(clock: Clock) -> Callable[[], int]:
    """Return a function that tells the time of `clock` in microseconds since 1970."""
    if isinstance(clock, SystemClock):
        return lambda: time.time_ns() // 1000
    return lambda: to_micros(clock.now())
