"""The spec in force, parsed once: it is asked for at every tick, and never changes."""

import msgspec

from setpoint.control.entities import Applied
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import from_document

_MOST = 256
_parsed: dict[str, Spec] = {}


def spec_of(applied: Applied) -> Spec:
    """Return the spec of what is in force."""
    found = _parsed.get(applied.hash)
    if found is None:
        if len(_parsed) >= _MOST:
            _parsed.clear()
        found = _parsed[applied.hash] = from_document(msgspec.to_builtins(applied.content))
    return found
