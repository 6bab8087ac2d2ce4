"""A graph in memory: its nodes, each a function from columns to what it gives."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Invalid
from setpoint.models.entities import SCORE, ModelVersion, Part, Signature, Stored
from setpoint.models.graphs import rules
from setpoint.models.graphs.entities import (
    NODES,
    Chain,
    Combine,
    Composed,
    Ensemble,
    Graph,
    Model,
    Switch,
    Transform,
)
from setpoint.models.protocols import Floats, Given, Predictor, Rows
from setpoint.models.rows import by_name, number, text

Columns: TypeAlias = Mapping[str, Any]
Index: TypeAlias = NDArray[np.intp] | None  #: which rows of the request; None: all


class Trail:
    """Which nodes answered which rows of one request."""

    def __init__(self, index: Index = None, took: "list[tuple[str, Index]] | None" = None) -> None:
        self.index = index
        self.took: list[tuple[str, Index]] = [] if took is None else took

    def note(self, node: str) -> None:
        self.took.append((node, self.index))

    def part(self, index: NDArray[np.intp]) -> "Trail":
        """Return the trail of some of these rows; what it notes is noted here."""
        return Trail(index if self.index is None else self.index[index], self.took)

    def told(self, count: int, versions: Mapping[str, str]) -> NDArray[Any]:
        """Return what answered each row, as JSON: the version by node."""
        if all(index is None for _, index in self.took):
            told = _json([node for node, _ in self.took], versions)
            return np.full(count, told, dtype=object)
        nodes: list[list[str]] = [[] for _ in range(count)]
        for node, index in self.took:
            for row in range(count) if index is None else index.tolist():
                nodes[row].append(node)
        known: dict[tuple[str, ...], str] = {}
        found = np.empty(count, dtype=object)
        for row, each in enumerate(map(tuple, nodes)):
            if each not in known:
                known[each] = _json(each, versions)
            found[row] = known[each]
        return found


Step: TypeAlias = Callable[[Columns, int, Trail], Given]
_decode = msgspec.json.Decoder(Composed).decode


class NodeFailed(Exception):  # the model's failure, not an error of ours
    """A node raised, or gave what it should not."""


class Running:
    """A `Predictor` that is a graph: thread-safe if its models and functions are."""

    def __init__(
        self,
        graph: Graph,
        signature: Signature,
        models: Mapping[str, Predictor],
        functions: Mapping[str, Callable[..., Any]],
        versions: Mapping[str, str],
    ) -> None:
        """Put a graph together.

        Args:
            graph: The graph.
            signature: Of the whole.
            models: What its model nodes are, by node.
            functions: What its transforms are, likewise.
            versions: What is told of either.
        """
        self.inputs = signature.inputs
        self.signature = signature
        self._versions = versions
        self._outputs = [each.name for each in signature.outputs if not each.trace]
        self._step = _Maker(graph, models, functions, versions).step(graph.answer)

    def predict(self, rows: Rows) -> Given:
        """Return the score, other outputs by name, and which nodes answered each row.

        Raises:
            Invalid: If a column is missing or cannot be a number.
            NodeFailed: If a node raised.
        """
        held = by_name(rows, self.signature)
        columns = {
            each.name: number(held[each.name], each)
            if each.numeric
            else text(held[each.name])
            if each.text
            else held[each.name]
            for each in self.inputs
        }
        count = len(next(iter(columns.values()), ()))
        trail = Trail()
        found = self._step(columns, count, trail)
        given = {name: found[name] for name in self._outputs}
        if self.signature.scored:
            given[SCORE.name] = found[SCORE.name]
        given[NODES] = trail.told(count, self._versions)
        return given


def load(
    store: ObjectStore,
    version: ModelVersion | Stored,
    loads: Callable[[ObjectStore, Stored], Predictor],
) -> Running:
    """Load a version that is a graph.

    Args:
        store: Where its parts are.
        version: The version.
        loads: Loads the versions that it is made of.

    Raises:
        NotFound: If an artifact is missing.
        Invalid: If one is corrupt, or cannot be loaded here.
    """
    composed = opened(store, version.artifact)
    parts = composed.parts
    models = {part.node: loads(store, part.held) for part in parts if part.held is not None}
    functions = {part.node: _function(store, part) for part in parts if part.function}
    versions = {part.node: part.version for part in parts}
    return Running(composed.graph, version.signature, models, functions, versions)


def opened(store: ObjectStore, artifact: str) -> Composed:
    """Return the graph at an address.

    Raises:
        NotFound: If there is nothing.
        Invalid: If it is no graph.
    """
    try:
        return _decode(store.get(artifact))
    except msgspec.MsgspecError as error:
        raise Invalid("the stored graph cannot be read", where=str(error)) from None


def _function(store: ObjectStore, part: Part) -> Callable[..., Any]:
    found: Callable[..., Any] = pickle.loads(  # noqa: S301 - its address was registered here
        store.get(part.function)
    )
    return found


class _Maker:
    """Makes the functions that nodes are."""

    def __init__(
        self,
        graph: Graph,
        models: Mapping[str, Predictor],
        functions: Mapping[str, Callable[..., Any]],
        versions: Mapping[str, str],
    ) -> None:
        self._graph = graph
        self._models = models
        self._functions = functions
        self._versions = versions

    def step(self, name: str) -> Step:
        node = self._graph.nodes[name]
        if isinstance(node, Model):
            return self._model(name)
        if isinstance(node, Transform):
            return self._transform(name, node)
        if isinstance(node, Chain):
            return self._chain(node)
        if isinstance(node, Ensemble):
            return self._ensemble(node)
        return self._switch(node)

    def _model(self, name: str) -> Step:
        predictor = self._models[name]
        inputs = predictor.inputs
        numeric = all(each.numeric for each in inputs)

        def run(columns: Columns, count: int, trail: Trail) -> Given:
            trail.note(name)
            rows: Any = {each.name: columns[each.name] for each in inputs}
            if numeric:
                rows = np.empty((count, len(inputs)))
                for at, each in enumerate(inputs):
                    rows[:, at] = columns[each.name]
            try:
                found = predictor.predict(rows)
            except Exception as error:
                raise self._failed(name, error) from error
            return found if isinstance(found, dict) else {SCORE.name: np.asarray(found)}

        return run

    def _transform(self, name: str, node: Transform) -> Step:
        function = self._functions[name]

        def run(columns: Columns, count: int, trail: Trail) -> Given:
            trail.note(name)
            try:
                found = function({column: columns[column] for column in node.takes})
                return _given(found, node, count)
            except Exception as error:
                raise self._failed(name, error) from error

        return run

    def _failed(self, name: str, error: Exception) -> NodeFailed:
        kind = "" if isinstance(error, NodeFailed) else f"{type(error).__name__}: "
        return NodeFailed(f"node “{name}” ({self._versions[name]}): {kind}{error}")

    def _chain(self, node: Chain) -> Step:
        steps = [(name, self._graph.nodes[name], self.step(name)) for name in node.steps]

        def run(columns: Columns, count: int, trail: Trail) -> Given:
            seen = dict(columns)
            found: Given = {}
            for name, one, step in steps:
                found = step(seen, count, trail)
                for output, values in found.items():
                    seen[rules.column_of(name, one, output)] = values
            return found

        return run

    def _ensemble(self, node: Ensemble) -> Step:
        steps = [self.step(name) for name in node.members]
        weights = np.array(node.weights or [1.0] * len(steps))
        weights = weights / weights.sum()

        def run(columns: Columns, count: int, trail: Trail) -> Given:
            found = [step(columns, count, trail) for step in steps]
            if all(rules.PROBABILITIES in each for each in found):
                several = np.stack([each[rules.PROBABILITIES] for each in found])
                together = _averaged(_votes(several) if node.by is Combine.VOTE else several)
                return {SCORE.name: together.max(axis=1), rules.PROBABILITIES: together}
            scores = np.stack([each[SCORE.name] for each in found])
            return {SCORE.name: _COMBINED[node.by](scores, weights)}

        def _averaged(several: NDArray[Any]) -> Floats:
            return np.asarray(np.tensordot(weights, several, axes=1))

        return run

    def _switch(self, node: Switch) -> Step:
        steps = {name: self.step(name) for name in rules.children(node)}

        def run(columns: Columns, count: int, trail: Trail) -> Given:
            values = np.asarray(columns[node.column]).tolist()
            chosen = [node.cases.get(rules.shortest(value), node.default) for value in values]
            first = chosen[0] if chosen else node.default
            if chosen.count(first) == len(chosen):
                return steps[first](columns, count, trail)
            parts: list[tuple[NDArray[np.intp], Given]] = []
            names = np.array(chosen, dtype=object)
            for name in dict.fromkeys(chosen):
                index = np.flatnonzero(names == name)
                some = {column: np.asarray(held)[index] for column, held in columns.items()}
                parts.append((index, steps[name](some, len(index), trail.part(index))))
            return _together(parts, count)

        return run


def _given(found: Any, node: Transform, count: int) -> Given:
    """Return what a function gave as it was declared.

    Raises:
        NodeFailed: If a column lacks, has another length, or is no number where it should be.
    """
    if not isinstance(found, Mapping):
        if len(node.gives) != 1:
            said = type(found).__name__
            raise NodeFailed(f"it gave a {said}, not a dict of {', '.join(node.gives)}")
        found = {next(iter(node.gives)): found}
    given: Given = {}
    for column, datatype in node.gives.items():
        if column not in found:
            raise NodeFailed(f"it gave no {column!r}")
        values = np.asarray(found[column], dtype=object if datatype == "BYTES" else np.float64)
        if values.ndim == 0:
            values = np.full(count, values)
        if len(values) != count:
            raise NodeFailed(f"it gave {len(values)} {column!r} for {count} rows")
        given[column] = values
    return given


def _together(parts: Sequence[tuple[NDArray[np.intp], Given]], count: int) -> Given:
    """Return what the cases of a switch gave, in the order of the rows: what all of them did."""
    shared = set.intersection(*(set(given) for _, given in parts))
    whole: Given = {}
    for name in sorted(shared):
        first = parts[0][1][name]
        whole[name] = np.empty((count, *first.shape[1:]), dtype=first.dtype)
        for index, given in parts:
            whole[name][index] = given[name]
    return whole


def _votes(several: NDArray[Any]) -> Floats:
    """Return 1 for the likeliest class of each member [m, n, k], NaN where it has none."""
    unknown = ~np.isfinite(several).all(axis=2, keepdims=True)
    best = np.where(unknown, 0, several).argmax(axis=2)
    votes = np.eye(several.shape[2])[best]
    return np.where(unknown, np.nan, votes)


def _yes(scores: Floats, weights: Floats) -> Floats:
    votes = np.where(np.isfinite(scores), scores >= 0.5, np.nan)
    return np.asarray(weights @ votes)


_COMBINED: dict[Combine, Callable[[Floats, Floats], Floats]] = {
    Combine.MEAN: lambda scores, weights: np.asarray(weights @ scores),
    Combine.MEDIAN: lambda scores, _: np.asarray(np.median(scores, axis=0)),
    Combine.MIN: lambda scores, _: np.asarray(scores.min(axis=0)),
    Combine.MAX: lambda scores, _: np.asarray(scores.max(axis=0)),
    Combine.VOTE: _yes,
}


def _json(nodes: Sequence[str], versions: Mapping[str, str]) -> str:
    return msgspec.json.encode({node: versions[node] for node in nodes}).decode()
