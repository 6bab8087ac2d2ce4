"""Keeps graphs at what their specs mean: a model that moves on takes its graphs along."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from setpoint.artifacts.store import open_store
from setpoint.control.graphs import composing, store
from setpoint.control.graphs.entities import AppliedGraph
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, SetpointError, Unavailable
from setpoint.events.store import record


def settle(
    home: LocalBackend, acting: Callable[[], AbstractContextManager[Connection]]
) -> list[str]:
    """Make versions of the graphs that mean something else by now.

    Args:
        home: The store.
        acting: Begins a transaction that may act.

    Returns:
        The models that got another live version.
    """
    with home.reading() as conn:
        graphs = store.all_applied(conn)
    return [graph.model for graph in graphs if _settle(home, acting, graph)]


def due(ctx: Context, models: Collection[str]) -> list[str]:
    """Return which of these models are graphs that `settle` would make versions of."""
    found = []
    for applied in store.all_applied(ctx.conn):
        if applied.model in models:
            now = composing.find(ctx, composing.spec_of(applied), applied.functions)
            found += [applied.model] if composing.is_due(applied, now) else []
    return found


def _settle(
    home: LocalBackend,
    acting: Callable[[], AbstractContextManager[Connection]],
    applied: AppliedGraph,
) -> bool:
    spec = composing.spec_of(applied)
    with home.reading() as conn:
        found = composing.find(home.context(conn), spec, applied.functions)
    if found.whole is None or not composing.is_due(applied, found):
        return False
    try:
        held = composing.prepare(home, open_store(home.settings), applied.model, found.whole)
        with acting() as conn:
            composing.put(home.context(conn), applied, found.whole, held)
    except (Conflict, Unavailable):  # it passes: the next look tries again
        raise
    except SetpointError as error:
        said = f"{error.message}: {error.where}" if error.where else error.message
        with acting() as conn:
            store.note(conn, applied.model, tried=found.key, version=applied.version, problem=said)
            ctx = home.context(conn)
            record(ctx, "graph.failed", f"model:{applied.model}", problem=said)
        return False
    return True
