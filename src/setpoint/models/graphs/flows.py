"""The way that rows take through a graph, for drawing it."""

from itertools import pairwise

from msgspec import Struct

from setpoint.models.graphs.entities import Chain, Ensemble, Graph
from setpoint.models.graphs.rules import children


class Box(Struct, frozen=True):
    """A node on the way; one that is used twice is there twice."""

    key: int
    node: str
    column: int  #: how many are before it, on the longest way


class Flow(Struct, frozen=True):
    """Boxes, and arrows from one to the next by their keys."""

    boxes: list[Box]
    arrows: list[tuple[int, int]]


def flow(graph: Graph) -> Flow:
    """Return the way of rows through a graph: a chain is its steps, one after another.

    Example:
        >>> from setpoint.models.graphs.entities import Model
        >>> nodes = {"a": Model(model="m"), "b": Model(model="m"), "c": Chain(steps=["a", "b"])}
        >>> [(box.node, box.column) for box in flow(Graph(nodes=nodes, answer="c")).boxes]
        [('a', 0), ('b', 1)]
    """
    walk = _Walk(graph)
    walk.visit(graph.answer)
    columns = [0] * len(walk.names)
    for _ in columns:  # as often as the longest way is long, at most
        for one, other in walk.arrows:
            columns[other] = max(columns[other], columns[one] + 1)
    boxes = [Box(key, *each) for key, each in enumerate(zip(walk.names, columns, strict=True))]
    return Flow(boxes, walk.arrows)


class _Walk:
    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.nodes
        self.names: list[str] = []
        self.arrows: list[tuple[int, int]] = []

    def visit(self, name: str) -> tuple[list[int], list[int]]:
        """Add a node; return where rows enter it, and where they leave."""
        node = self._nodes[name]
        if isinstance(node, Chain):
            ways = [self.visit(step) for step in node.steps]
            for (_, out), (into, _) in pairwise(ways):
                self._join(out, into)
            return ways[0][0], ways[-1][1]
        if isinstance(node, Ensemble):
            ways = [self.visit(member) for member in node.members]
            mine = self._box(name)
            self._join([key for _, out in ways for key in out], [mine])
            return [key for into, _ in ways for key in into], [mine]
        mine = self._box(name)
        ways = [self.visit(child) for child in children(node)]
        self._join([mine], [key for into, _ in ways for key in into])
        return [mine], [key for _, out in ways for key in out] or [mine]

    def _box(self, name: str) -> int:
        self.names.append(name)
        return len(self.names) - 1

    def _join(self, some: list[int], others: list[int]) -> None:
        self.arrows.extend((one, other) for one in some for other in others)
