"""What the spec of a graph is: an endpoint that several models and functions answer together."""

from typing import Annotated, Literal

from msgspec import Struct
from msgspec.structs import force_setattr

from setpoint.control.spec.fields import Code, Column, Doc, ModelName, Name, Which
from setpoint.control.spec.running import Serve
from setpoint.models.graphs import entities
from setpoint.models.graphs.entities import Combine
from setpoint.models.names import split_version

Values = Literal["number", "text"]
_DATATYPES = {"number": "FP64", "text": "BYTES"}


class Node(Struct, frozen=True, kw_only=True):
    """One node of a graph: exactly one of model, transform, chain, ensemble and switch."""

    model: Annotated[
        Which | None,
        Doc(
            "the version that answers: `fraud` is the live one, `fraud@champion` the one that an "
            "alias names, `fraud:3` a number",
            "one by its alias is followed: when that moves, the graph gets a new version",
        ),
    ] = None
    transform: Annotated[
        Code | None,
        Doc(
            "a function that is given columns as NumPy arrays by name, and returns such",
            "it is kept as it is now when it is applied",
        ),
    ] = None
    takes: Annotated[
        dict[str, Values], Doc("the columns that a transform is given, `number` or `text` each")
    ] = {}
    gives: Annotated[
        dict[str, Values],
        Doc(
            "the columns that it returns; later steps of a chain see them",
            "the last step's are the answer, `score` among them is logged and watched",
        ),
    ] = {}
    chain: Annotated[
        tuple[Name, ...],
        Doc(
            "nodes that answer one after another, the last for all",
            "each sees the inputs and what those before it gave: a score by the node's name",
        ),
    ] = ()
    ensemble: Annotated[
        tuple[Name, ...], Doc("nodes that all answer", "their answers become one: see `by`")
    ] = ()
    by: Annotated[
        Literal["mean", "median", "min", "max", "vote"],
        Doc(
            "how an ensemble makes one answer of several",
            "`vote`: the share of members that say yes, or of each class",
        ),
    ] = "mean"
    weights: Annotated[
        tuple[float, ...], Doc("the weight of each member, in their order, of mean and vote")
    ] = ()
    switch: Annotated[
        Column | None, Doc("the column whose value says which node answers a row")
    ] = None
    cases: Annotated[dict[str, Name], Doc("the node that answers, by the column's value")] = {}
    default: Annotated[
        Name | None, Doc("the node that answers all other values, and missing ones")
    ] = None


#: The keys that say what a node is, with those that go with them; `True` where one must.
KINDS: dict[str, dict[str, bool]] = {
    "model": {},
    "transform": {"takes": False, "gives": True},
    "chain": {},
    "ensemble": {"by": False, "weights": False},
    "switch": {"cases": True, "default": True},
}


class GraphSpec(Struct, frozen=True, kw_only=True):
    """The promise about an endpoint that several models and functions answer together."""

    model: Annotated[ModelName, Doc("the name of the endpoint", "its address when serving")]
    owner: Annotated[str, Doc("who answers for it")] = ""
    purpose: Annotated[str, Doc("what it is for", "stands on its card")] = ""
    graph: Annotated[
        dict[str, Node],
        Doc("the nodes by name", "predictions record which answered, and in which version"),
    ]
    answer: Annotated[Name, Doc("the node that answers", "the last one if none is named")] = ""
    serve: Annotated[Serve, Doc("how predictions are answered")] = Serve()

    def __post_init__(self) -> None:
        if not self.answer:
            force_setattr(self, "answer", next(reversed(self.graph), ""))


def graph_of(spec: GraphSpec) -> entities.Graph:
    """Return the graph that a spec means, whose nodes are each of one kind."""
    nodes = {name: _node(node) for name, node in spec.graph.items()}
    return entities.Graph(nodes=nodes, answer=spec.answer)


def kind_of(node: Node) -> list[str]:
    """Return the keys of a node that say what it is; one, if all is well."""
    return [key for key in KINDS if getattr(node, key)]


def _node(node: Node) -> entities.Node:
    if node.model is not None:
        model, which = split(node.model)
        return entities.Model(model=model, which=which)
    if node.transform is not None:
        takes, gives = _typed(node.takes), _typed(node.gives)
        return entities.Transform(code=node.transform, takes=takes, gives=gives)
    if node.chain:
        return entities.Chain(steps=list(node.chain))
    if node.ensemble:
        by, weights = Combine(node.by), list(node.weights)
        return entities.Ensemble(members=list(node.ensemble), by=by, weights=weights)
    column, default = node.switch or "", node.default or ""
    return entities.Switch(column=column, cases=dict(node.cases), default=default)


def split(said: str) -> tuple[str, str]:
    """Return the model and which of its versions is meant.

    Example:
        >>> split("fraud"), split("fraud@champion"), split("fraud:3")
        (('fraud', '@live'), ('fraud', '@champion'), ('fraud', ':3'))
    """
    model, sign, which = split_version(said)
    return model, f"{sign}{which}" or "@live"


def _typed(columns: dict[str, Values]) -> dict[str, str]:
    return {name: _DATATYPES[said] for name, said in columns.items()}
