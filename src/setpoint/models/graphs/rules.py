"""What makes a graph one that can answer, what it takes and what it gives."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from setpoint.errors import Invalid
from setpoint.models.entities import SCORE, Input, Output, Signature
from setpoint.models.graphs.entities import (
    NODES,
    Chain,
    Combine,
    Ensemble,
    Graph,
    Model,
    Node,
    Switch,
    Transform,
)

PROBABILITIES = "probabilities"
_WEIGHTED = (Combine.MEAN, Combine.VOTE)
_TOLD = Output(name=NODES, datatype="BYTES", trace=True)


class Problem(Struct, frozen=True):
    """Something that is wrong with a node."""

    node: str
    message: str
    hint: str = ""


def children(node: Node) -> list[str]:
    """Return the nodes that a node is made of."""
    if isinstance(node, Chain):
        return list(node.steps)
    if isinstance(node, Ensemble):
        return list(node.members)
    if isinstance(node, Switch):
        return list(dict.fromkeys([*node.cases.values(), node.default]))
    return []


def kind_of(node: Node) -> str:
    """Return what a node is in a word, as specs have it: ``model``, ``switch``, …"""
    return str(node.__struct_config__.tag)


def problems(graph: Graph) -> list[Problem]:
    """Return what is wrong with a graph by itself, whatever its models take and give.

    Example:
        >>> chain = Chain(steps=["a", "b"])
        >>> problems(Graph(nodes={"a": Model(model="m"), "c": chain}, answer="c"))[0].message
        'there is no node “b”'
    """
    found: list[Problem] = []
    for name, node in graph.nodes.items():
        for child in children(node):
            if child not in graph.nodes:
                known = ", ".join(graph.nodes)
                found.append(Problem(name, f"there is no node “{child}”", f"nodes: {known}"))
        found += [Problem(name, *said) for said in _own(node)]
    if graph.answer not in graph.nodes:
        hint = f"one of: {', '.join(graph.nodes)}"
        found.append(Problem("", f"there is no node “{graph.answer}” to answer", hint))
    if found:
        return found
    if (around := _around(graph)) is not None:
        words = " → ".join(around)
        return [Problem(around[0], f"it is made of itself: {words}", "leave one of these out")]
    unused = graph.nodes.keys() - set(used(graph))
    hint = f"nothing that “{graph.answer}” is made of; remove it"
    return [Problem(name, "nothing uses it", hint) for name in graph.nodes if name in unused]


def used(graph: Graph) -> list[str]:
    """Return the nodes that take part in an answer, those that others are made of first."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        for child in children(graph.nodes[name]):
            visit(child)
        found.setdefault(name)

    visit(graph.answer)
    return list(found)


def signature(graph: Graph, models: Mapping[str, Signature]) -> Signature:
    """Return what a graph takes and gives.

    It takes whatever its nodes do and no node before them gives. A model's own limits hold for
    the model: a row that lacks what it needs has no score from it.

    Args:
        graph: One without `problems`.
        models: The signatures of its model nodes, by node.

    Raises:
        Invalid: If its nodes do not fit one another.
    """
    typed = _typed(graph, graph.answer, models, {})
    gives = typed.gives
    return replace(
        gives,
        inputs=list(typed.takes.values()),
        outputs=[*gives.outputs, _TOLD],
        missing=True,
        infinite=True,
        frame="",
    )


class _Typed(Struct, frozen=True):
    takes: dict[str, Input]  #: of the request, by name
    gives: Signature  #: its inputs mean nothing


def column_of(name: str, node: Node, output: str) -> str:
    """Return what later nodes of a chain see an output of a node as.

    A function's outputs by their own names, a score by the node's, others as ``node.output``.
    """
    if isinstance(node, Transform):
        return output
    return name if output == SCORE.name else f"{name}.{output}"


def _typed(
    graph: Graph, name: str, models: Mapping[str, Signature], known: Mapping[str, Input]
) -> _Typed:
    """Return what a node takes of the request, and gives, after nodes that gave `known`."""
    node = graph.nodes[name]
    if isinstance(node, Model):
        return _Typed(_wanted(models[name].inputs, known, name), models[name])
    if isinstance(node, Transform):
        inputs = [Input(name=column, datatype=type_) for column, type_ in node.takes.items()]
        return _Typed(_wanted(inputs, known, name), _transformed(node))
    if isinstance(node, Chain):
        return _chained(graph, node, models, known)
    parts = {child: _typed(graph, child, models, known) for child in children(node)}
    takes: dict[str, Input] = {}
    for child, part in parts.items():
        _merge(takes, part.takes, child)
    if isinstance(node, Ensemble):
        return _Typed(takes, _combined(name, node, {c: part.gives for c, part in parts.items()}))
    if node.column not in takes and node.column not in known:
        takes = {node.column: _compared(node)} | takes
    return _Typed(takes, _switched(name, [part.gives for part in parts.values()]))


def _chained(
    graph: Graph, node: Chain, models: Mapping[str, Signature], known: Mapping[str, Input]
) -> _Typed:
    takes: dict[str, Input] = {}
    given = dict(known)
    gives = Signature(inputs=[])
    for step in node.steps:
        typed = _typed(graph, step, models, given)
        _merge(takes, typed.takes, step)
        gives = typed.gives
        for one in (*gives.outputs, *([SCORE] if gives.scored else [])):
            column = column_of(step, graph.nodes[step], one.name)
            given[column] = Input(name=column, datatype=one.datatype, shape=one.shape)
    return _Typed(takes, gives)


def _wanted(inputs: list[Input], known: Mapping[str, Input], node: str) -> dict[str, Input]:
    """Return the inputs that nothing before gives; hold the others against what is given."""
    for each in inputs:
        if (one := known.get(each.name)) is not None and not _fits(one, each):
            raise Invalid(
                f"node “{node}” takes {each.name!r} as {_said(each)}, and is given {_said(one)}"
            )
    return {each.name: each for each in inputs if each.name not in known}


def _merge(takes: dict[str, Input], more: Mapping[str, Input], node: str) -> None:
    for name, new in more.items():
        old = takes.get(name)
        if old is None or old == new:
            takes[name] = new
        elif old.numeric and new.numeric:
            takes[name] = Input(name=name, datatype="FP64")
        else:
            raise Invalid(
                f"node “{node}” takes {name!r} as {_said(new)}, another node as {_said(old)}"
            )


def _fits(given: Input, taken: Input) -> bool:
    """Tell whether a column may be handed on; a function is handed any by a name that it takes."""
    if given.numeric or given.text:
        return given.numeric == taken.numeric
    return True


def _said(one: Input) -> str:
    if one.text:
        return "text"
    return "a number" if one.numeric else f"{one.datatype} {one.shape or 'bytes'}"


def _transformed(node: Transform) -> Signature:
    outputs = [
        Output(name=column, datatype=type_)
        for column, type_ in node.gives.items()
        if column != SCORE.name
    ]
    scored = SCORE.name in node.gives
    return Signature(inputs=[], kind="any", outputs=outputs, scored=scored)


def _combined(name: str, node: Ensemble, members: Mapping[str, Signature]) -> Signature:
    """Return what an ensemble gives: a score, and probabilities where its members have them."""
    every = list(members.values())
    first = every[0]
    for member, gives in members.items():
        if not gives.scored:
            raise Invalid(f"node “{member}” gives no score, so “{name}” cannot combine it")
        if gives.classes != first.classes:
            raise Invalid(
                f"the members of “{name}” tell apart different classes",
                where=f"{first.classes} and {gives.classes}",
                hint="name a model's classes with: setpoint models add --class",
            )
    kind = first.kind if all(gives.kind == first.kind for gives in every) else "any"
    probable = all(PROBABILITIES in _names(gives) for gives in every)
    if len(first.classes) > 2 and not probable:
        raise Invalid(f"the members of “{name}” have classes, and not all give probabilities")
    if node.by is Combine.VOTE and not first.classes:
        raise Invalid(f"“{name}” counts votes, and its members tell no classes apart")
    if probable and node.by not in _WEIGHTED:
        raise Invalid(
            f"“{name}” combines probabilities by {node.by}, which would not sum to 1",
            hint="by: mean or by: vote",
        )
    outputs = [each for each in first.outputs if each.name == PROBABILITIES] if probable else []
    return Signature(inputs=[], kind=kind, classes=first.classes, outputs=outputs)


def _switched(name: str, cases: list[Signature]) -> Signature:
    """Return what a switch gives: what all its cases do."""
    first = cases[0]
    scored = all(gives.scored for gives in cases)
    outputs = [each for each in first.outputs if all(each in gives.outputs for gives in cases)]
    outputs = [each for each in outputs if not each.trace]
    if not scored and not outputs:
        raise Invalid(f"the cases of “{name}” have no output in common")
    alike = all(gives.classes == first.classes for gives in cases)
    if not alike and any(each.name == PROBABILITIES for each in outputs):
        raise Invalid(f"the cases of “{name}” tell apart different classes")
    kind = first.kind if all(gives.kind == first.kind for gives in cases) else "any"
    classes = first.classes if alike else []
    return Signature(inputs=[], kind=kind, classes=classes, outputs=outputs, scored=scored)


def _compared(node: Switch) -> Input:
    """Return the column of a switch that no node takes: a number if all its cases are."""
    numbers = all(is_number(value) for value in node.cases)
    return Input(name=node.column, datatype="FP64" if numbers else "BYTES")


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _names(gives: Signature) -> set[str]:
    return {each.name for each in gives.outputs}


def _own(node: Node) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a node by itself."""
    if isinstance(node, Chain) and not node.steps:
        yield "a chain has at least one step", "name nodes: [first, second]"
    if isinstance(node, Ensemble):
        yield from _ensemble(node)
    if isinstance(node, Switch) and not node.cases:
        yield "a switch has at least one case", "cases: {value: node}"
    if isinstance(node, Transform):
        if not node.gives:
            yield "a transform gives at least one column", "gives: {name: number}"
        if NODES in node.gives:
            yield f"{NODES!r} is the name of what every graph gives", "give it another name"


def _ensemble(node: Ensemble) -> Iterator[tuple[str, str]]:
    if len(node.members) < 2 or len(set(node.members)) < len(node.members):
        yield "an ensemble has at least two members, each once", "ensemble: [one, other]"
    if node.weights and node.by not in _WEIGHTED:
        yield f"weights mean nothing to {node.by}", "remove them, or combine by mean or vote"
    elif node.weights and len(node.weights) != len(node.members):
        yield f"{len(node.weights)} weights for {len(node.members)} members", "give one a member"
    elif node.weights and (min(node.weights) < 0 or sum(node.weights) <= 0):
        yield "weights are 0 or more, and not all 0", ""


def _around(graph: Graph) -> list[str] | None:
    """Return nodes that are made of one another, in a circle; None if there are none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for child in children(graph.nodes[name]):
            found = visit(child, [*path, name])
            if found is not None:
                return found
        done.add(name)
        return None

    return next((f for name in graph.nodes if (f := visit(name, []))), None)


def shortest(value: Any) -> str:
    """Return a value as the cases of a switch write it: 3.0 is 3, a missing one nothing.

    Example:
        >>> shortest(3.0), shortest(2.5), shortest("EWR"), shortest(float("nan"))
        ('3', '2.5', 'EWR', '')
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value.decode() if isinstance(value, bytes) else str(value)
