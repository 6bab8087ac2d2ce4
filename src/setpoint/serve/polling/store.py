"""The questions of servers that are asked several times a second. They only read."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from setpoint.models.tables import model_aliases, model_versions
from setpoint.serve.tables import endpoints as e

_MARKS = select(func.count(), func.sum(e.c.generation), func.max(e.c.generation))
_MOST = 500  #: models a question


def marks(conn: Connection) -> tuple[Any, ...]:
    """Return what differs once any endpoint has changed: generations only ever rise.

    One row, where the generations themselves are one a model.
    """
    return tuple(conn.execute(_MARKS).one())


def could_serve(conn: Connection, models: Sequence[str]) -> dict[str, list[int]]:
    """Return the versions of models that are here and that no gate refused, by model, rising."""
    t = model_versions.c
    query = select(t.model, t.number, t.gate, t.override)
    query = query.where(t.deleted_at.is_(None), t.flavor != "").order_by(t.model, t.number)
    found: dict[str, list[int]] = {}
    for some in _some(models):
        for model, number, gate, override in conn.execute(query.where(t.model.in_(some))):
            if gate is None or gate["passed"] or override is not None:
                found.setdefault(model, []).append(number)
    return found


def aliases(conn: Connection, models: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the aliases of models, by model."""
    a = model_aliases.c
    found: dict[str, dict[str, int]] = {}
    for some in _some(models):
        for model, alias, number in conn.execute(
            select(a.model, a.alias, a.number).where(a.model.in_(some))
        ):
            found.setdefault(model, {})[alias] = number
    return found


def _some(models: Sequence[str]) -> list[Sequence[str]]:
    return [models[at : at + _MOST] for at in range(0, len(models), _MOST)]
