"""Filters and orders as SQL, and pages of results, for any noun that can be searched.

Pages go on after the last row's sort values, not after a count, so that each costs the same and
none repeats or misses a row because others were written meanwhile.
"""

import base64
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    type_coerce,
)

from setpoint.errors import Invalid
from setpoint.runs.filters import All, Comparison, Either, Expression, No

Condition = ColumnElement[bool]


class Sort(NamedTuple):
    """A column to sort by; never NULL, which the two databases sort at different ends."""

    column: ColumnElement[Any]
    descending: bool = False


def _apart(parts: Sequence[Expression]) -> tuple[Sequence[Condition], Sequence[Expression]]:
    return (), parts


def where(
    expression: Expression | None,
    leaf: Callable[[Comparison], Condition],
    joint: Callable[
        [Sequence[Expression]], tuple[Sequence[Condition], Sequence[Expression]]
    ] = _apart,
) -> Condition:
    """Return a filter as a condition.

    Args:
        expression: What the filter says.
        leaf: Makes the condition of one comparison.
        joint: Takes those parts of an AND that are met together or not at all, as they speak of
            one of several things; returns their conditions, and the other parts.
    """
    match expression:
        case None:
            return true()
        case Comparison():
            return leaf(expression)
        case No(part=part):
            return not_(where(part, leaf, joint))
        case All(parts=parts):
            made, others = joint(parts)
            return and_(*made, *(where(part, leaf, joint) for part in others))
        case Either(parts=parts):
            return or_(*(where(part, leaf, joint) for part in parts))


def compare(conn: Connection, column: ColumnElement[Any], found: Comparison) -> Condition:
    """Return the condition of one comparison on a column of its kind."""
    return not_(_positive(conn, column, found)) if found.negated else _positive(conn, column, found)


def _positive(conn: Connection, column: ColumnElement[Any], found: Comparison) -> Condition:
    value = found.value
    match found.op:
        case "NULL":
            return column.is_(None)
        case "IN":
            return column.in_(value if isinstance(value, tuple) else ())
        case "LIKE" | "ILIKE" | "RLIKE":
            return _like(conn, column, found.op, str(value))
    condition: Condition = _SIGNS[found.op](column, value)
    return condition


_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _like(conn: Connection, column: ColumnElement[Any], op: str, pattern: str) -> Condition:
    """Return a match by pattern; LIKE heeds the case, which SQLite's own does not."""
    lite = conn.dialect.name == "sqlite"
    if op == "RLIKE":
        return column.op("REGEXP" if lite else "~", is_comparison=True)(pattern)
    if op == "ILIKE":
        # SQLite is given the lower() of Python; PostgreSQL knows the letters of its own locale.
        text = column if lite else column.collate("default")
        return func.lower(text).like(pattern.lower(), escape=None if lite else "")
    if lite:
        return column.op("GLOB", is_comparison=True)(_glob(pattern))
    return column.like(pattern, escape="")


def _glob(pattern: str) -> str:
    special = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(special.get(char, char) for char in pattern)


def micros(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a time column as the integer it is kept as, as filters have times."""
    return type_coerce(column, BigInteger)


def tags(
    conn: Connection,
    found: Comparison,
    owner: Condition,
    name: ColumnElement[str],
    value: ColumnElement[str],
) -> Condition:
    """Return the condition of a comparison of a tag that is a row (owner, name, value)."""
    there = select(literal(1)).where(owner, name == found.key)
    if found.op == "NULL":
        return there.exists() if found.negated else ~there.exists()
    return there.where(compare(conn, value, as_text(found))).exists()


def as_text(found: Comparison) -> Comparison:
    """Return a comparison with what is a text, however its value was written."""
    value = found.value
    if isinstance(value, tuple):
        return msgspec.structs.replace(found, value=tuple(str(one) for one in value))
    return msgspec.structs.replace(found, value=str(value))


def sorts(column: ColumnElement[Any], empty: str | float, *, descending: bool) -> list[Sort]:
    """Return how a column is sorted that may be NULL: those rows last."""
    return [
        Sort(case((column.is_(None), 1), else_=0)),
        Sort(func.coalesce(column, empty), descending),
    ]


def mark(*asked: Any) -> str:
    """Return what tells one search from another, so that tokens are not mixed up."""
    return blake3(msgspec.msgpack.encode(asked)).hexdigest()[:12]


def page(
    conn: Connection,
    query: Select[Any],
    order: Sequence[Sort],
    *,
    limit: int,
    token: str,
    of: str,
) -> tuple[list[Any], str]:
    """Return the next rows and the token of the page after them, empty if there is none.

    Args:
        conn: An open transaction.
        query: What to select, without an order.
        order: Its last column must be unique.
        limit: Rows.
        token: Of the page before; empty for the first.
        of: The search's `mark`.

    Raises:
        Invalid: If the token is of another search, or none.
    """
    labels = [each.column.label(f"sort_{i}") for i, each in enumerate(order)]
    query = query.add_columns(*labels)
    if token:
        query = query.where(beyond(order, unseal(token, of)))
    by = [each.column.desc() if each.descending else each.column.asc() for each in order]
    rows = list(conn.execute(query.order_by(*by).limit(limit + 1)).all())
    if len(rows) <= limit:
        return rows, ""
    last = rows[limit - 1]
    return rows[:limit], seal([getattr(last, f"sort_{i}") for i in range(len(order))], of)


def beyond(order: Sequence[Sort], values: Sequence[Any]) -> Condition:
    """Return the condition of what comes after these sort values."""
    if len(order) != len(values):
        raise _foreign()
    condition: Condition = false()
    for (column, descending), value in zip(reversed(order), reversed(values), strict=True):
        further = column < value if descending else column > value
        condition = or_(further, and_(column == value, condition))
    # It follows from the rest, but an index is used for it only when it is said.
    column, descending = order[0]
    return and_(column <= values[0] if descending else column >= values[0], condition)


def seal(values: Sequence[Any], of: str) -> str:
    """Return the token of a page that ends with these sort values."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([of, *values])).decode().rstrip("=")


def unseal(token: str, of: str) -> list[Any]:
    """Return the sort values of a token.

    Raises:
        Invalid: If it is of another search, or none.
    """
    try:
        whose, *values = msgspec.msgpack.decode(
            base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=list[Any]
        )
    except (ValueError, msgspec.DecodeError):
        whose, values = None, []
    if whose != of:
        raise _foreign()
    return values


def _foreign() -> Invalid:
    return Invalid(
        "the page token is not one of this search",
        hint="send a search's `next` with the same filter, order and experiments, or none",
    )


def attribute_leaf(
    conn: Connection, columns: Mapping[str, ColumnElement[Any]]
) -> Callable[[Comparison], Condition]:
    """Return what makes conditions of comparisons of attributes."""
    return lambda found: compare(conn, columns[found.key], found)
