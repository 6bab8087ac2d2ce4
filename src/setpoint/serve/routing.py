"""Which version answers a row. Pure: the same key always goes the same way."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

_FULL = 1 << 64


def router(salt: str, weight: float) -> Callable[[Sequence[str]], bytes]:
    """Return a function that tells the arm of every key: 0 live, 1 canary.

    Args:
        salt: ``model/version`` of the canary, so that a key keeps its arm for the length
            of a release, and every release draws its canary group anew.
        weight: The canary's share of keys, 0 to 1. Raising it only ever moves keys from
            live to canary: the point of a key on [0, 1) does not depend on it.
    """
    if weight <= 0:
        return lambda keys: bytes(len(keys))
    if weight >= 1:
        return lambda keys: b"\x01" * len(keys)
    bound = int(weight * _FULL)
    start = blake2b(salt.encode() + b"\0", digest_size=8)

    def arms(keys: Sequence[str]) -> bytes:
        found = bytearray(len(keys))
        for i, key in enumerate(keys):
            point = start.copy()
            point.update(key.encode())
            found[i] = int.from_bytes(point.digest()) < bound
        return bytes(found)

    return arms
