"""Models in a store of their own, and graphs made of them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from setpoint.artifacts.files import FileStore
from setpoint.models import adding, runtime
from setpoint.models.entities import Label, ModelVersion, Part, Stored
from setpoint.models.flavors import pickles
from setpoint.models.graphs import composing
from setpoint.models.graphs.entities import Graph, Model, Node, Transform
from setpoint.models.protocols import Predictor


class Shelf:
    """Versions that graphs name, and functions."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder)
        self.parts: dict[str, Part] = {}

    def model(
        self,
        node: str,
        ask: Any,
        *columns: str,
        number: int = 1,
        classes: Sequence[Label] = (),
    ) -> Model:
        """Put a model of numbers on the shelf; return the node that names it."""
        example = pl.DataFrame({name: [0.5, 1.5, 2.5] for name in columns})
        kind = "classification" if classes else "regression"
        held = adding.stored(self.store, ask, example, kind=kind, classes=classes)
        return self.put(node, held, number=number)

    def put(self, node: str, held: Stored, *, number: int = 1) -> Model:
        version = ModelVersion(
            model=f"m-{node}",
            number=number,
            run_id="",
            why="",
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            flavor=held.flavor,
            artifact=held.artifact,
            onnx=held.onnx,
            signature=held.signature,
            size=held.size,
            background=held.background,
            parts=held.parts,
        )
        self.parts[node] = composing.part_of(node, version)
        return Model(model=version.model)

    def function(
        self,
        node: str,
        call: Callable[..., Any],
        takes: Mapping[str, str],
        gives: Mapping[str, str],
    ) -> Transform:
        """Put a function on the shelf; columns are ``number`` or ``text``."""
        kinds = {"number": "FP64", "text": "BYTES"}
        address = self.store.put(pickles.dump(call))
        self.parts[node] = Part(node=node, function=address, source="steps:call 1")
        return Transform(
            code="steps:call",
            takes={name: kinds[kind] for name, kind in takes.items()},
            gives={name: kinds[kind] for name, kind in gives.items()},
        )

    def composed(self, nodes: Mapping[str, Node], answer: str = "") -> Stored:
        """Compose a graph; without a name the last node answers."""
        graph = Graph(nodes=dict(nodes), answer=answer or list(nodes)[-1])
        return composing.compose(self.store, composing.composed(graph, self.parts), of="whole")

    def loaded(self, nodes: Mapping[str, Node], answer: str = "") -> Predictor:
        return runtime.load(self.store, self.composed(nodes, answer))
