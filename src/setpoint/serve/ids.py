"""Ids and times as `core` makes them, only cheaper: the hot path needs one of each a request."""

import os
import time
from collections.abc import Callable

from setpoint.core.clock import Clock, SystemClock, to_micros
from setpoint.errors import Invalid
from setpoint.serve import v2

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = bytes([ord(_ALPHABET[byte & 31]) for byte in range(256)])
_MILLIS = range(45, -1, -5)
_RANDOM = 16
_POOL = 400 * _RANDOM


def maker(prefix: str) -> Callable[[int], str]:
    """Return a function from microseconds since 1970 to a new id.

    Random digits are asked of the system 400 ids at a time. Not for use across `fork`.
    """
    pool, at = "", 0
    when, head = -1, ""

    def make(at_us: int) -> str:
        nonlocal pool, at, when, head
        if at >= len(pool):
            pool, at = os.urandom(_POOL).translate(_DIGITS).decode("ascii"), 0
        if at_us // 1000 != when:
            when = at_us // 1000
            head = prefix + "_" + "".join([_ALPHABET[when >> shift & 31] for shift in _MILLIS])
        at += _RANDOM
        return head + pool[at - _RANDOM : at]

    return make


def micros_of(clock: Clock) -> Callable[[], int]:
    """Return a function that tells the time of `clock` in microseconds since 1970."""
    if isinstance(clock, SystemClock):
        return lambda: time.time_ns() // 1000
    return lambda: to_micros(clock.now())


_prediction_ids = maker("prd")
_request_ids = maker("req")
_SUFFIXES = [f".{i}" for i in range(1_024)]  #: of the ids of a request's rows


def _numbered(made: str, count: int) -> list[str]:
    """Return an id for each of several rows."""
    if count > len(_SUFFIXES):
        return [f"{made}.{i}" for i in range(count)]
    return [made + suffix for suffix in _SUFFIXES[:count]]


def name(
    request_id: str, parameters: v2.Parameters | None, count: int, at_us: int
) -> tuple[str, list[str], list[str]]:
    """Return the request's id, the rows' prediction ids and the rows' routing keys."""
    ids = keys = None
    if parameters is not None:
        ids, keys = parameters.ids, parameters.keys
        _check_counts(ids, keys, count)
    if ids is not None:
        v2.check_ids(ids, "$.parameters.ids", unique=True)
        request_id = request_id or _request_ids(at_us)
    else:
        made = _prediction_ids(at_us)
        ids = [made] if count == 1 else _numbered(made, count)
        request_id = request_id or made
    return request_id, ids, ids if keys is None else keys


def _check_counts(ids: list[str] | None, keys: list[str] | None, count: int) -> None:
    for what, given in (("ids", ids), ("keys", keys)):
        if given is not None and len(given) != count:
            raise Invalid(
                f"{len(given)} {what} for {count} rows",
                where=f"$.parameters.{what}",
                hint=f"send one a row, or no {what}",
            )
