"""The state of each model as the overview tells it, and why."""

from msgspec import Struct

from setpoint.control.graphs.service import ListGraphs
from setpoint.control.graphs.service import ls as list_graphs
from setpoint.control.service import ListStatus, ls
from setpoint.models.service import ListModels
from setpoint.models.service import ls as list_models
from setpoint.server.ui.page import Ask

_ORDER = ("off target", "held", "settling", "on target", "unmanaged")


class Status(Struct, frozen=True, kw_only=True):
    """Where a model stands."""

    model: str
    state: str  #: ``on target``, ``settling``, ``off target``, ``held``, or ``unmanaged``
    why: str


def all_models(ask: Ask) -> list[Status]:
    """Return every model that was applied or trained here; what is off target first."""
    found = [
        Status(model=each.model, state=str(each.state), why=each.why)
        for each in ask.call(ls, ListStatus()).models
    ]
    found += [
        Status(model=each.model, state=str(each.state), why=each.why)
        for each in ask.call(list_graphs, ListGraphs()).graphs
    ]
    known = {each.model for each in found}
    found += [
        Status(model=each.model, state="unmanaged", why="no spec says what it must hold")
        for each in ask.call(list_models, ListModels()).unmanaged(known)
    ]
    return sorted(found, key=lambda each: (_ORDER.index(each.state), each.model))


def of_model(ask: Ask, model: str) -> Status:
    """Return where one model stands."""
    known = {each.model: each for each in all_models(ask)}
    return known.get(model) or Status(model=model, state="unmanaged", why="")
