"""Which stored objects are still named: what every collecting of bytes must ask first.

Read off the database itself and not off the modules that happen to be loaded, so that no
table can be forgotten.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    MetaData,
    Select,
    Table,
    Text,
    column,
    or_,
    select,
    table,
)

_ADDRESS = re.compile(r"b3:[0-9a-f]{64}")
#: Tables whose texts name no object, or only tell of one; they may be very long.
_TELL = frozenset(
    {
        "comments",
        "delivery_attempts",
        "deliveries",
        "events",
        "event_outbox",
        "mlflow_assessments",
        "mlflow_model_values",
        "mlflow_spans",
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
    for each in tables.sorted_tables:
        texts = [text for text in each.c if isinstance(text.type, Text)]
        if each.name in _TELL or not texts:
            continue
        query: Any = select(*texts).where(or_(*(text.contains("b3:") for text in texts)))
        if each.name in rows:
            query = query.where(rows[each.name](each))
        for row in conn.execute(query.execution_options(yield_per=10_000)):
            for said in row:
                if said is not None:
                    found.update(_ADDRESS.findall(said))
    return found & candidates


def runs_of_versions(*, trained: bool = False) -> Select[tuple[str]]:
    """Return a query for the ids of runs whose files a model version needs.

    A version from elsewhere names its files by the run that has them, not by their address. With
    `trained`, the runs that trained a version are among them: they say where it comes from.
    """
    v = table("model_versions", column("run_id"), column("source"), column("deleted_at"))
    query = select(v.c.run_id).where(v.c.run_id != "", v.c.deleted_at.is_(None))
    return query if trained else query.where(v.c.source != "")
