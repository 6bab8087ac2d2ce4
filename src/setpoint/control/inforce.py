"""The spec in force, parsed once: it is asked for at every tick, and never changes."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from setpoint.control.entities import Applied
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import from_document

_MOST = 256
_parsed: dict[str, Any] = {}
T = TypeVar("T")


def spec_of(applied: Applied) -> Spec:
    """Return the spec of what is in force."""
    return parsed(applied.hash, applied.content, from_document)


def parsed(hash_: str, content: Any, read: Callable[[Any], T]) -> T:
    """Return what `read` makes of the content of this hash, the first time it is asked."""
    found: T | None = _parsed.get(hash_)
    if found is None:
        if len(_parsed) >= _MOST:
            _parsed.clear()
        found = _parsed[hash_] = read(msgspec.to_builtins(content))
    return found
