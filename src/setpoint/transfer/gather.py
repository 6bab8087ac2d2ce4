"""Points that come one by one, gathered to columns."""

from collections.abc import Iterator

import numpy as np

from setpoint.runs.columns import Columns


class Points:
    """Points by name, in the order they came."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[list[int], list[int], list[float]]] = {}

    def add(self, name: str, value: float, step: int, at_us: int) -> None:
        """Add one point; the time is in microseconds since 1970."""
        found = self._named.get(name)
        if found is None:
            found = self._named[name] = ([], [], [])
        found[0].append(step)
        found[1].append(at_us)
        found[2].append(value)

    def columns(self) -> Iterator[tuple[str, Columns]]:
        """Yield every series, by name in the order of their first points."""
        for name, (steps, at, values) in self._named.items():
            yield (
                name,
                Columns(
                    np.array(steps, np.int64), np.array(at, np.int64), np.array(values, np.float64)
                ),
            )

    def __contains__(self, name: str) -> bool:
        return name in self._named
