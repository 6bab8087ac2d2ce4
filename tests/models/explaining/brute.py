"""Shapley values by their definition: over every coalition, one at a time."""

from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from setpoint.models.protocols import Floats


def shapley(score: Callable[[Any], Floats], row: Any, background: Any) -> Floats:
    """Return the Shapley values of a row [k] of any kind, against a background [m, k]."""
    k = len(row)

    def worth(inside: tuple[int, ...]) -> float:
        mixed = background.copy()
        mixed[:, list(inside)] = row[list(inside)]
        return float(score(mixed).mean())

    found = np.zeros(k)
    for j in range(k):
        others = [i for i in range(k) if i != j]
        for size in range(k):
            for inside in combinations(others, size):
                gain = worth((*inside, j)) - worth(inside)
                found[j] += gain / (k * comb(k - 1, size))
    return found
