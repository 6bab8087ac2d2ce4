"""Numbers of a request, from Python's lists into a matrix.

`numpy.array` looks at each object for what it might be, and columns one by one cost a loop each.
What is all numbers, as most requests are, is packed in one call: 960 of them in 5 µs, where
`numpy.array` takes 13. Whatever is not is left to who looks at every value, and says which one is
wrong.
"""

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from setpoint.serve.protocols import Floats


def packed(values: Iterable[Any], count: int, width: int) -> Floats | None:
    """Return ``[count, width]`` of numbers that are given row by row.

    None if there are more or fewer of them, or one is no number, or one that no double holds.
    """
    found = np.empty((count, width))
    try:
        _packer(count * width)(found, 0, *values)
    except (struct.error, OverflowError):
        return None
    return found


@lru_cache(maxsize=1024)
def _packer(count: int) -> Callable[..., None]:
    return struct.Struct(f"={count}d").pack_into
