"""Calls of a version that requests waited for and may have shared, counted by their size."""

from msgspec import Struct

_EXACT = 64  #: rows up to which each size is counted for itself


class Calls(Struct):
    """Calls of one version beside the event loop, and the requests that they answered.

    A fast model has none: each request is a call of its own there, at once.
    """

    sizes: dict[int, list[int]] = {}  #: by rows, see `sized`: how many calls, and nanoseconds
    requests: int = 0  #: that they answered, or parts of them
    waited: int = 0  #: nanoseconds, all of those together, until their calls began
    beside: int = 0  #: nanoseconds of those that were no call, `waited` among them

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(calls for calls, _ in list(self.sizes.values()))

    def called(self, rows: int, nanos: int, calls: int = 1) -> None:
        """Count calls of one size."""
        size = self.sizes.setdefault(sized(rows), [0, 0])
        size[0] += calls
        size[1] += nanos

    def answered(self, waited: int, beside: int) -> None:
        """Count a request that a call answered."""
        self.requests += 1
        self.waited += waited
        self.beside += beside

    def add(self, other: "Calls") -> None:
        """Add what was counted in another process."""
        for rows, (calls, nanos) in other.sizes.items():
            self.called(rows, nanos, calls)
        self.requests += other.requests
        self.waited += other.waited
        self.beside += other.beside


def sized(rows: int) -> int:
    """Return as what size a call is counted: many are rounded up, as few sizes are kept.

    Example:
        >>> sized(3), sized(64), sized(65), sized(1000)
        (3, 64, 128, 1024)
    """
    return rows if rows <= _EXACT else 1 << (rows - 1).bit_length()
