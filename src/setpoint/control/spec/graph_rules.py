"""What must be true of the spec of a graph beyond its types. Pure: a spec in, findings out."""

import re
from collections.abc import Iterator

from setpoint.control.spec.graphs import KINDS, GraphSpec, Node, graph_of, kind_of, split
from setpoint.control.spec.names import bad_model_name
from setpoint.control.spec.rules import Finding, serving
from setpoint.models.graphs import rules

_NAME = re.compile(r"[^\W_][\w-]*")


def findings(spec: GraphSpec) -> list[Finding]:
    """Return everything that cannot be as it is written."""
    found = list(serving(spec.serve))
    if spec.serve.fallback.use == "baseline":
        found.append(("serve.fallback", "a graph has no baseline", "fall back to value or code"))
    if not spec.graph:
        return [*found, ("graph", "graph has no nodes", "name at least one: {model: NAME}")]
    for name, node in spec.graph.items():
        found += _node(spec, name, node)
    if found:
        return found
    return [
        (_at(one), f"{_at(one)}: {one.message}", one.hint) for one in rules.problems(graph_of(spec))
    ]


def _at(one: rules.Problem) -> str:
    return f"graph.{one.node}" if one.node else "answer"


def _node(spec: GraphSpec, name: str, node: Node) -> Iterator[Finding]:
    at = f"graph.{name}"
    if _NAME.fullmatch(name) is None or len(name) > 64:
        yield at, f"“{name[:80]}” cannot be the name of a node", "letters, digits, “-” and “_”"
    kinds = kind_of(node)
    if len(kinds) != 1:
        said = f"has {' and '.join(kinds)}" if kinds else "is nothing yet"
        yield at, f"{at} {said}", f"write exactly one of {', '.join(KINDS)}"
        return
    (kind,) = kinds
    plain = Node()
    for other, keys in KINDS.items():
        for key, needed in keys.items():
            is_set = getattr(node, key) != getattr(plain, key)
            if other == kind and needed and not is_set:
                yield f"{at}.{key}", f"{at}.{key} is missing", f"a {kind} needs it"
            elif other != kind and is_set:
                yield f"{at}.{key}", f"{at}.{key} says nothing about a {kind}", "remove it"
    if node.model is not None:
        yield from _model(spec, f"{at}.model", node.model)


def _model(spec: GraphSpec, at: str, said: str) -> Iterator[Finding]:
    model, which = split(said)
    if (wrong := bad_model_name(model)) is not None:
        yield at, f"{at}: “{model[:80]}” cannot be the name of a model", wrong
    elif which.startswith(":") and not (which[1:].isascii() and which[1:].isdigit()):
        yield at, f"{at}: “{which[1:][:40]}” is no number of a version", "such as fraud:3"
    elif model == spec.model:
        yield at, f"{at}: the graph “{model}” is made of itself", "name another model"
