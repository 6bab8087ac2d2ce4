"""Which stored objects are still named: what every collecting of bytes must ask first.

Read off the database itself and not off the modules that happen to be loaded, so that no
table can be forgotten.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, MetaData, Table, Text, or_, select

_ADDRESS = re.compile(r"b3:[0-9a-f]{64}")
#: Tables whose texts name no object, or only tell of one; they may be very long.
_TELL = frozenset(
    {
        "delivery_attempts",
        "deliveries",
        "events",
        "event_outbox",
        "mlflow_assessments",
        "mlflow_model_values",
        "mlflow_trace_values",
        "mlflow_traces",
        "predictions",
        "run_names",
        "run_values",
        "waiting_labels",
        "wandb_lines",
        "wandb_rows",
        "wandb_runs",
    }
)


def named(
    conn: Connection,
    candidates: set[str],
    *,
    rows: Mapping[str, Callable[[Table], ColumnElement[bool]]],
) -> set[str]:
    """Return which of these addresses any table still names.

    Args:
        conn: A transaction in which nobody adds names any more.
        candidates: Addresses, ``b3:…``.
        rows: By table: the condition of the rows that count, where not all do.
    """
    if not candidates:
        return set()
    found: set[str] = set()
    tables = MetaData()
    tables.reflect(conn)
    for table in tables.sorted_tables:
        columns = [column for column in table.c if isinstance(column.type, Text)]
        if table.name in _TELL or not columns:
            continue
        query: Any = select(*columns).where(or_(*(column.contains("b3:") for column in columns)))
        if table.name in rows:
            query = query.where(rows[table.name](table))
        for row in conn.execute(query.execution_options(yield_per=10_000)):
            for said in row:
                if said is not None:
                    found.update(_ADDRESS.findall(said))
    return found & candidates
