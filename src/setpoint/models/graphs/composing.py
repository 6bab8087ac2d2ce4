"""From a graph and the versions that its nodes mean now to a version of its own."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Invalid, UserCodeFailed
from setpoint.models import runtime
from setpoint.models.entities import ModelVersion, Parity, Part, Signature, Stored
from setpoint.models.explaining import background as backgrounds
from setpoint.models.graphs import rules
from setpoint.models.graphs.entities import FLAVOR, Composed, Graph, Model, Transform
from setpoint.models.protocols import Predictor


def part_of(node: str, version: ModelVersion) -> Part:
    """Return the part that a node is which means a version of a model."""
    return Part(node=node, model=version.model, number=version.number, held=version.stored)


def composed(graph: Graph, parts: Mapping[str, Part]) -> Composed:
    """Return a graph with its parts, in the order in which they answer."""
    leaves = [n for n in rules.used(graph) if isinstance(graph.nodes[n], Model | Transform)]
    return Composed(graph=graph, parts=[parts[name] for name in leaves])


def encoded(whole: Composed) -> bytes:
    """Return what is stored of a graph: the same bytes for the same graph of the same parts."""
    return msgspec.json.encode(whole, order="deterministic")


def compose(store: ObjectStore, whole: Composed, *, of: str) -> Stored:
    """Store a graph, after it has answered some rows.

    Those are what its models were trained on, as far as they keep it: joined by the order they
    are in, so that they need not go together. They are kept to explain predictions by.

    Args:
        store: Where it goes, and where its parts are.
        whole: The graph.
        of: The model that it will be a version of.

    Raises:
        Invalid: If its nodes do not fit one another, or it is made of itself.
        UserCodeFailed: If a node fails.
        NotFound: If a part is missing.
    """
    if of in _models(whole.parts):
        raise Invalid(f"the graph {of!r} is made of itself", hint="name other models")
    signatures = {part.node: part.held.signature for part in whole.parts if part.held is not None}
    signature = rules.signature(whole.graph, signatures)
    data = encoded(whole)
    stored = Stored(
        flavor=FLAVOR,
        artifact=store.put(data),
        parity=Parity(held=False, why="it is a graph: each of its models is compiled by itself"),
        signature=signature,
        size=len(data) + sum(part.held.size for part in whole.parts if part.held is not None),
        parts=whole.parts,
    )
    columns = _columns(store, whole.parts, signature)
    rows = _rows(columns, signature)
    found = _answers(runtime.load(store, stored), rows)
    if len(columns) < len(signature.inputs) or backgrounds.why_not(signature):
        return stored
    able = np.flatnonzero(np.isfinite(backgrounds.scores_of(found)))
    if not able.size:
        return stored
    kept = {name: np.asarray(values)[able] for name, values in rows.items()}
    matrix: Any = np.column_stack(list(kept.values())) if signature.numeric else kept
    background = backgrounds.encode(matrix, signature)
    return msgspec.structs.replace(stored, background=store.put(background))


def _models(parts: list[Part]) -> set[str]:
    """Return the models that parts are versions of, and theirs."""
    found: set[str] = set()
    for part in parts:
        if part.held is not None:
            found |= {part.model} | _models(part.held.parts)
    return found


def _columns(store: ObjectStore, parts: list[Part], signature: Signature) -> dict[str, Any]:
    """Return values of inputs that some model was trained on."""
    found: dict[str, Any] = {}
    for part in parts:
        held = part.held
        if held is None or held.background is None:
            continue
        rows = backgrounds.decode(store.get(held.background), held.signature)
        for at, name in enumerate(held.signature.names):
            values = rows[:, at] if isinstance(rows, np.ndarray) else rows[name]
            found.setdefault(name, values)
    return {name: found[name] for name in signature.names if name in found}


def _rows(columns: dict[str, Any], signature: Signature) -> dict[str, Any]:
    """Return rows with all inputs: zeros and empty texts for those that nobody knows any of."""
    count = min((len(values) for values in columns.values()), default=1)
    return {
        each.name: columns[each.name][:count]
        if each.name in columns
        else np.zeros((count, *map(abs, each.shape)))
        if each.datatype != "BYTES"
        else np.full(count, "" if each.text else b"", dtype=object)
        for each in signature.inputs
    }


def _answers(predictor: Predictor, rows: dict[str, Any]) -> Any:
    try:
        return predictor.predict(rows)
    except Exception as error:
        raise UserCodeFailed(
            "the graph does not answer rows that its models were trained on",
            where=str(error).partition("\n")[0][:300],
            hint="mend the node that is named; nothing was changed",
        ) from error
