"""Which predictions are logged where not all of them are. Pure: an id says it, for good.

The sample is uniform over rows, whatever their request, its size, their order and their arm,
so what is averaged over logged rows needs no weights. An id has the same answer on every
server and for its label, and a larger share keeps all that a smaller one did.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

_FULL = 1 << 64
_SALT = b"log\0"  # not that of routing: who answers and what is logged are independent


def sampler(share: float) -> Callable[[Sequence[str]], list[int]]:
    """Return a function that tells which of some prediction ids are in the sample, by place.

    Args:
        share: Of all ids, 0 to 1.

    Example:
        >>> sampler(0.5)(["order-1", "order-2", "order-3"])
        [1]
    """
    bound = int(share * _FULL)
    start = blake2b(_SALT, digest_size=8)

    def places(ids: Sequence[str]) -> list[int]:
        found = []
        for i, name in enumerate(ids):
            point = start.copy()
            point.update(name.encode())
            if int.from_bytes(point.digest()) < bound:
                found.append(i)
        return found

    return places


def is_sampled(name: str, share: float) -> bool:
    """Tell whether the prediction of this id is logged where a `share` of them is."""
    return share >= 1 or bool(sampler(share)([name]))
