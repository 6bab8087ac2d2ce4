"""What is kept of the graphs in force, and where they stand."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from setpoint.control.entities import State
from setpoint.control.functions import Kept


class AppliedGraph(Struct, frozen=True, kw_only=True):
    """The spec in force of one graph."""

    model: str  #: its endpoint
    hash: str  #: of the canonical spec
    content: Any  #: the canonical spec, decoded
    functions: dict[str, Kept]  #: what its transforms were when it was applied, by node
    file: str  #: the setpoint file it was read from
    applied_at: datetime
    applied_by: str
    tried: str = ""  #: what it meant when a version was made of it last, or could not be
    version: int | None = None  #: the version that was made last
    problem: str = ""  #: why what was tried could not be


class NodeStatus(Struct, frozen=True, kw_only=True):
    """What one node of a graph is now."""

    node: str
    kind: str  #: ``model``, ``transform``, ``chain``, ``ensemble`` or ``switch``
    of: str  #: what it is made of, in words
    version: str  #: what predictions record of it; empty for what only puts others together


class GraphStatus(Struct, frozen=True, kw_only=True):
    """Where one graph stands."""

    model: str
    live: int | None
    why: str
    state: State
    nodes: list[NodeStatus]  #: of the live version, those that others are made of first
    owner: str
    purpose: str
