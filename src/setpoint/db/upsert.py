"""Insert or update: the one statement that the two databases spell differently."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table

_Merge = Callable[[Any], dict[str, Any]]
_Update = tuple[str, ...] | _Merge

_BATCH = 5_000  #: rows a statement


def upsert(
    conn: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    on: Sequence[str] = (),
    update: Sequence[str] | _Merge = (),
) -> int:
    """Insert rows; where one of the same key is there, update or keep it.

    Args:
        conn: An open transaction.
        table: Where to.
        rows: All with the same columns.
        on: The key that may be there already; by default the primary key.
        update: Columns to overwrite, or a function of the excluded row that returns what to set.
            Nothing: what is there stays. A function must be one of a module, not made anew.

    Returns:
        How many rows were inserted or updated.
    """
    fixed = update if callable(update) else tuple(update)
    statement = _statement(table, conn.dialect.name, tuple(on), fixed)
    return sum(
        conn.execute(statement, rows[start : start + _BATCH]).rowcount
        for start in range(0, len(rows), _BATCH)
    )


def insertion(conn: Connection, table: Table) -> Any:
    """Return an INSERT that can be told what to do on a conflict, in the database's own words."""
    return _insertion(table, conn.dialect.name)


def _insertion(table: Table, dialect: str) -> Any:
    # A dialect comes with all of its drivers: the one that nobody uses is not loaded.
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


@lru_cache(maxsize=256)
def _statement(table: Table, dialect: str, on: tuple[str, ...], update: _Update) -> Any:
    """Return the statement, made once: making it takes longer than running it on a few rows."""
    statement = _insertion(table, dialect)
    keys = list(on) or [column.name for column in table.primary_key.columns]
    if callable(update):
        values = update(statement.excluded)
    else:
        values = {name: statement.excluded[name] for name in update}
    if not values:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(index_elements=keys, set_=values)
