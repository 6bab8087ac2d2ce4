"""What people hand over, as what is kept."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from setpoint.runs.entities import Value

_DEPTH = 20
INTEGERS = range(-(2**63), 2**63)  #: of 64 bits


def flat(values: Mapping[Any, Any], separator: str = "/", depth: int = 0) -> dict[str, Any]:
    """Return mappings within mappings as one, names joined.

    Example:
        >>> flat({"train": {"loss": 1, "f1": 2}})
        {'train/loss': 1, 'train/f1': 2}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and depth < _DEPTH:
            inner = flat(value, separator, depth + 1)
            found |= {f"{key}{separator}{name}": item for name, item in inner.items()}
        else:
            found[str(key)] = value
    return found


def value_of(value: Any) -> Value:
    """Return what is kept of a param: itself, or its text as JSON or as Python has it.

    Example:
        >>> value_of([1, 2]), value_of(2**70), value_of(float)
        ('[1,2]', '1180591620717411303424', "<class 'float'>")
    """
    if hasattr(value, "item") and getattr(value, "size", 2) == 1:  # a number of NumPy
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value if not isinstance(value, str) else str(value)
    if isinstance(value, int):
        return int(value) if value in INTEGERS else str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list | tuple | dict | set | frozenset):
        try:
            return msgspec.json.encode(value, enc_hook=repr, order="sorted").decode()
        except (TypeError, ValueError, RecursionError):
            return repr(value)
    return str(value)


def texts(values: Mapping[Any, Any]) -> dict[str, str]:
    """Return tags as text."""
    return {str(name): str(value) for name, value in values.items()}


def step_of(step: Any) -> int | None:
    """Return a step as an integer of 64 bits; None if it is none."""
    try:
        number = int(step)
    except (TypeError, ValueError, OverflowError):
        return None
    whole = not isinstance(step, float) or math.isfinite(step)
    return number if whole and number in INTEGERS else None
