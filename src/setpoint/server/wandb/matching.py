"""The client's filters on runs: Mongo's query language over a run as a document."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from setpoint.errors import Invalid

Document = Mapping[str, Any]

_MISSING = object()

#: Other spellings of a document's fields.
_FIELDS = {
    "displayName": "display_name",
    "jobType": "job_type",
    "createdAt": "created_at",
    "heartbeatAt": "heartbeat_at",
    "summaryMetrics": "summary_metrics",
    "username": "user",
    "sweepName": "sweep",
}


def matches(query: Any, document: Document) -> bool:
    """Tell whether a document meets a query. What a run lacks is equal to null only.

    Raises:
        Invalid: If the query has an operator that is not known, or a value of the wrong kind.
    """
    if not isinstance(query, Mapping):
        raise Invalid("a filter is an object", hint='e.g. {"config.lr": {"$lt": 0.1}}')
    return all(_one(name, asked, document) for name, asked in query.items())


def _one(name: str, asked: Any, document: Document) -> bool:
    if name in _JOINS:
        if not isinstance(asked, list):
            raise Invalid(f"{name} takes a list of filters")
        return _JOINS[name](matches(part, document) for part in asked)
    if name.startswith("$"):
        raise Invalid(f"a filter has no operator {name}", hint=f"there are {', '.join(_JOINS)}")
    return _meets(value_of(document, name), asked)


_JOINS: dict[str, Callable[[Any], bool]] = {
    "$and": all,
    "$or": any,
    "$nor": lambda parts: not any(parts),
}


def value_of(document: Document, name: str) -> Any:
    """Return the value at a dotted name; `missing` tells whether there was none.

    Values of a config may be named with or without the ``.value`` in which the client wraps
    them, and a key that has dots itself is found as well as nested ones.
    """
    head, _, rest = name.partition(".")
    found = document.get(_FIELDS.get(head, head), _MISSING)
    return _inside(found, rest) if rest else found


def _inside(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        return _MISSING
    if path in value:
        return value[path]
    stem = path.removesuffix(".value")
    if stem != path and stem in value:
        return value[stem]
    for index in (i for i, letter in enumerate(path) if letter == "."):
        found = value.get(path[:index], _MISSING)
        if found is not _MISSING:
            inner = path[index + 1 :].removeprefix("value.")
            return _inside(found, inner)
    return _MISSING


def missing(value: Any) -> bool:
    """Tell whether there was no value at a name."""
    return value is _MISSING


def _meets(value: Any, asked: Any) -> bool:
    if not (isinstance(asked, Mapping) and any(key.startswith("$") for key in asked)):
        return _equal(value, asked)
    return all(_operator(name)(value, wanted) for name, wanted in asked.items())


def _operator(name: str) -> Callable[[Any, Any], bool]:
    found = _OPERATORS.get(name)
    if found is None:
        known = ", ".join(_OPERATORS)
        raise Invalid(f"a filter has no operator {name}", hint=f"there are {known}")
    return found


def _equal(value: Any, asked: Any) -> bool:
    if isinstance(value, list) and not isinstance(asked, list):
        return any(_equal(item, asked) for item in value)
    if value is _MISSING or value is None:
        return asked is None
    if isinstance(value, bool) != isinstance(asked, bool):
        return False
    return bool(value == asked)


def _among(value: Any, asked: Any) -> bool:
    if not isinstance(asked, list):
        raise Invalid("$in and $nin take a list")
    return any(_equal(value, one) for one in asked)


def _compares(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(value: Any, asked: Any) -> bool:
        if _is_number(value) and _is_number(asked):
            return holds(value, asked)
        if isinstance(value, str) and isinstance(asked, str):
            return holds(value, asked)
        return False

    return compare


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _like(value: Any, asked: Any) -> bool:
    try:
        pattern = re.compile(asked)
    except (re.error, TypeError) as error:
        raise Invalid(f"{asked!r} is no regular expression: {error}") from None
    values = value if isinstance(value, list) else [value]
    return any(isinstance(one, str) and pattern.search(one) is not None for one in values)


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, asked: not _equal(value, asked),
    "$gt": _compares(lambda value, asked: value > asked),
    "$gte": _compares(lambda value, asked: value >= asked),
    "$lt": _compares(lambda value, asked: value < asked),
    "$lte": _compares(lambda value, asked: value <= asked),
    "$in": _among,
    "$nin": lambda value, asked: not _among(value, asked),
    "$exists": lambda value, asked: (value is not _MISSING) == bool(asked),
    "$regex": _like,
    "$options": lambda *_: True,
    "$not": lambda value, asked: not _meets(value, asked),
}


def order_key(name: str) -> Callable[[Document], tuple[int, Any]]:
    """Return what sorts documents by a field; those without it, or with NaN, come last."""

    def key(document: Document) -> tuple[int, Any]:
        value = value_of(document, name)
        if _is_number(value) and not math.isnan(value):
            return 0, float(value)
        if isinstance(value, str):
            return 1, value
        return 2, 0

    return key
