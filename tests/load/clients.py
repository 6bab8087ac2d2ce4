"""How much of a load a test carries: a little in `make test`, all of it in `make load`."""

import os

LONG = os.environ.get("LOAD") == "long"


def of(short: int, long: int) -> int:
    """Return how many of something there are."""
    return long if LONG else short
