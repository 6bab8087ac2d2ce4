"""Values of other systems as ours."""

import json
from collections.abc import Mapping
from typing import Any

from setpoint.runs.dotted import dotted
from setpoint.runs.entities import Value


def params(values: Mapping[str, Any]) -> dict[str, Value]:
    """Return nested settings as params, by dotted name; what is no scalar is JSON."""
    return {name: _scalar(value) for name, value in dotted(values)}


def text(value: Any) -> str:
    """Return a param as text: other systems know no other."""
    return value if isinstance(value, str) else json.dumps(value)


def _scalar(value: Any) -> Value:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value)
