"""What one can ask of graphs."""

from msgspec import Struct

from setpoint.control.entities import State
from setpoint.control.graphs import composing, store
from setpoint.control.graphs.entities import AppliedGraph, GraphStatus, NodeStatus
from setpoint.control.spec.graphs import GraphSpec, graph_of
from setpoint.core.operations import Context, operation
from setpoint.models import store as models
from setpoint.models.graphs import rules
from setpoint.releases import traffic


class ListGraphs(Struct, frozen=True, kw_only=True):
    model: str | None = None  #: of one endpoint only


class Graphs(Struct, frozen=True, kw_only=True):
    graphs: list[GraphStatus]


@operation("graphs.ls", needs="models:read")
def ls(ctx: Context, cmd: ListGraphs) -> Graphs:
    """Say of each graph what it is made of, which versions answer in it, and if all is well."""
    found = store.all_applied(ctx.conn)
    return Graphs(graphs=[_status(ctx, one) for one in found if cmd.model in (None, one.model)])


def _status(ctx: Context, applied: AppliedGraph) -> GraphStatus:
    spec = composing.spec_of(applied)
    live = traffic.live(ctx, applied.model)
    state, why = _standing(ctx, applied, spec, live)
    versions = {}
    if live is not None:
        parts = models.get(ctx.conn, applied.model, live).parts
        versions = {part.node: part.version for part in parts}
    graph = graph_of(spec)
    said = composing.described(graph)
    return GraphStatus(
        model=applied.model,
        live=live,
        state=state,
        why=why,
        nodes=[
            NodeStatus(node=name, kind=kind, of=of, version=versions.get(name, ""))
            for name in rules.used(graph)
            for kind, of in [said[name]]
        ],
        owner=spec.owner,
        purpose=spec.purpose,
    )


def _standing(
    ctx: Context, applied: AppliedGraph, spec: GraphSpec, live: int | None
) -> tuple[State, str]:
    found = composing.find(ctx, spec, applied.functions)
    if found.whole is None:
        return State.SETTLING, f"it waits for {found.waits}"
    if composing.is_due(applied, found):
        return State.SETTLING, "its models have moved on: setpoint up makes a version of it"
    if applied.problem:
        return State.OFF_TARGET, applied.problem
    if live != applied.version:
        return State.HELD, f"version {live} was put live by hand, instead of {applied.version}"
    return State.ON_TARGET, "its live version is of what its spec means"


OPERATIONS = (ls,)
