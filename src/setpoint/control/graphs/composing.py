"""Graphs as they are declared become versions: at once, and whenever a model in them moves on.

What a version of a graph is made of never changes, so that it can be brought back, and what it
answered is known for good. A model that gets another live version therefore makes another version
of each graph that names it, put live in its place.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import asdict

from setpoint.artifacts.contract import ObjectStore, address_of
from setpoint.control.functions import Kept
from setpoint.control.graphs import store
from setpoint.control.graphs.entities import AppliedGraph
from setpoint.control.inforce import parsed
from setpoint.control.spec.graphs import GraphSpec, graph_of
from setpoint.control.spec.parse import graph_from_document
from setpoint.core.operations import Context
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, NotFound
from setpoint.models import store as models
from setpoint.models.entities import ModelVersion, Part, Stored
from setpoint.models.graphs import composing, rules
from setpoint.models.graphs.entities import (
    Chain,
    Composed,
    Ensemble,
    Graph,
    Model,
    Switch,
    Transform,
)
from setpoint.models.service import Register, register
from setpoint.releases import by_hand


class Found(Struct, frozen=True, kw_only=True):
    """What a graph means now."""

    whole: Composed | None  #: None: it waits for something
    waits: str = ""  #: for what

    @property
    def key(self) -> str:
        """What tells whether it is still the same."""
        return "" if self.whole is None else address_of(composing.encoded(self.whole))


def spec_of(applied: AppliedGraph) -> GraphSpec:
    """Return the spec of what is in force."""
    return parsed(applied.hash, applied.content, graph_from_document)


def find(ctx: Context, spec: GraphSpec, functions: Mapping[str, Kept]) -> Found:
    """Return what the nodes of a graph are now."""
    graph = graph_of(spec)
    parts: dict[str, Part] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, Model):
            version = _version(ctx, node)
            if version is None:
                return Found(whole=None, waits=_lacking(node))
            parts[name] = composing.part_of(name, version)
        elif isinstance(node, Transform):
            kept = functions[name]
            parts[name] = Part(node=name, function=kept.address, source=kept.source)
    return Found(whole=composing.composed(graph, parts))


def _version(ctx: Context, node: Model) -> ModelVersion | None:
    """Return the version that a node means; None if there is none that could serve."""
    sign, said = node.which[:1], node.which[1:]
    number = int(said) if sign == ":" else models.alias(ctx.conn, node.model, said)
    if number is None:
        return None
    try:
        version = models.get(ctx.conn, node.model, number)
    except NotFound:
        return None
    return version if version.trained_here and version.deleted_at is None else None


def _lacking(node: Model) -> str:
    if node.which == "@live":
        return f"a live version of {node.model}"
    sign, said = node.which[:1], node.which[1:]
    return f"version {said} of {node.model}" if sign == ":" else f"{node.model}@{said}"


def is_due(applied: AppliedGraph, found: Found) -> bool:
    """Tell whether a graph means something else than what was made of it last.

    What a person puts live instead stands until it does.
    """
    return found.whole is not None and applied.tried != found.key


def prepare(home: LocalBackend, objects: ObjectStore, model: str, whole: Composed) -> Stored | None:
    """Store what a graph means now; None: it has a version that is the same already.

    Apart from the transaction that makes it a version: its models are loaded to try it.

    Raises:
        SetpointError: If it cannot answer.
    """
    with home.reading() as conn:
        if _same(home.context(conn), model, whole) is not None:
            return None
    return composing.compose(objects, whole, of=model)


def put(ctx: Context, applied: AppliedGraph, whole: Composed, held: Stored | None) -> ModelVersion:
    """Put a graph live that was prepared, in the caller's transaction.

    Raises:
        Conflict: If a release of its model is open.
    """
    why = reason(ctx, applied, whole)
    version = _same(ctx, applied.model, whole)
    if version is None and held is not None:
        version = register(ctx, Register(model=applied.model, run_id="", why=why, **asdict(held)))
    if version is None:
        raise Conflict(f"a version of {applied.model} was deleted meanwhile", hint="do it again")
    by_hand.put_live(ctx, applied.model, version.number, reason=why, person=False)
    key = Found(whole=whole).key
    store.note(ctx.conn, applied.model, tried=key, version=version.number, problem="")
    return version


def _same(ctx: Context, model: str, whole: Composed) -> ModelVersion | None:
    """Return the newest version of a graph that is made of the same."""
    key = Found(whole=whole).key
    return next((each for each in models.versions(ctx.conn, model) if each.artifact == key), None)


def reason(ctx: Context, applied: AppliedGraph, whole: Composed) -> str:
    """Say why a graph gets another version."""
    if applied.version is None:
        return "the graph was declared"
    was = {each.node: each for each in models.get(ctx.conn, applied.model, applied.version).parts}
    moved = [
        f"{part.node} went from {was[part.node].version} to {part.version}"
        for part in whole.parts
        if part.node in was and was[part.node].version != part.version
    ]
    return "; ".join(moved) or "its declaration changed"


def described(graph: Graph) -> dict[str, tuple[str, str]]:
    """Return the kind of each node, and what it is made of in words."""
    found: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        kind = rules.kind_of(node)
        if isinstance(node, Model):
            which = "" if node.which == "@live" else node.which
            found[name] = kind, f"{node.model}{which}"
        elif isinstance(node, Transform):
            found[name] = kind, node.code
        else:
            found[name] = kind, _made_of(node)
    return found


def _made_of(node: object) -> str:
    if isinstance(node, Chain):
        return " → ".join(node.steps)
    if isinstance(node, Ensemble):
        return f"{node.by} of {', '.join(node.members)}"
    assert isinstance(node, Switch)  # noqa: S101 - there are no others
    cases = [f"{value}: {child}" for value, child in node.cases.items()]
    return f"by {node.column}: {', '.join([*cases, f'else {node.default}'])}"
