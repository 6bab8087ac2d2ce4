"""Insert or update: the one statement that the two databases spell differently."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

_BATCH = 5_000  #: rows a statement


def upsert(
    conn: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    on: Sequence[str] = (),
    update: Sequence[str] | Callable[[Any], dict[str, Any]] = (),
) -> int:
    """Insert rows; where one of the same key is there, update or keep it.

    Args:
        conn: An open transaction.
        table: Where to.
        rows: All with the same columns.
        on: The key that may be there already; by default the primary key.
        update: Columns to overwrite, or a function of the excluded row that returns what to set.
            Nothing: what is there stays.

    Returns:
        How many rows were inserted or updated.
    """
    make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement: Any = make(table)
    keys = list(on) or [column.name for column in table.primary_key.columns]
    given = update(statement.excluded) if callable(update) else None
    values = {name: statement.excluded[name] for name in update} if given is None else given  # type: ignore[union-attr]
    if values:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=values)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    return sum(
        conn.execute(statement, rows[start : start + _BATCH]).rowcount
        for start in range(0, len(rows), _BATCH)
    )
