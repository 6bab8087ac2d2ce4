"""Nested values as flat ones."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def dotted(
    values: Mapping[str, Any],
    before: str = "",
    *,
    whole: Callable[[Mapping[str, Any]], bool] = lambda _: False,
) -> Iterator[tuple[str, Any]]:
    """Yield what is no mapping, under its names joined by dots.

    Args:
        values: Mappings within each other. An empty one is a value.
        before: Stands before every name.
        whole: Tells which mappings are one value all the same.
    """
    for name, value in values.items():
        if isinstance(value, dict) and value and not whole(value):
            yield from dotted(value, f"{before}{name}.", whole=whole)
        else:
            yield f"{before}{name}", value
