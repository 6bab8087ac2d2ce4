"""A source with any number of models of any size, whose loads can be held up and counted."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from setpoint.errors import Conflict
from setpoint.models.entities import Input, Signature
from setpoint.models.explaining.explainer import Explainer
from setpoint.serve import naming
from setpoint.serve.entities import (
    Deployment,
    Described,
    EndpointSettings,
    Names,
    Role,
    SplitArm,
    Wanted,
)
from setpoint.serve.protocols import Due, Predictor

from .made import Sum

MB = 1_000_000
SIGNATURE = Signature(
    inputs=[Input(name="a", datatype="FP64"), Input(name="b", datatype="FP64")], kind="regression"
)


class Heavy(Sum):
    """A sum that takes memory, and notes what it was asked."""

    def __init__(self, version: int, size: int) -> None:
        super().__init__(float(version))
        self.signature = SIGNATURE
        self.held = np.ones(size // 8)
        self.seen: list[Any] = []

    def predict(self, rows: Any) -> Any:
        self.seen.append(np.array(rows))
        return super().predict(rows)


class Shelf:
    """Models, each with versions 1, 2, …; what is deployed and how, as a test says."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}  #: bytes of a version, 10 MB where nothing is said
        self.generations: dict[str, int] = {}
        self.wanted: dict[str, Wanted] = {}
        self.loads: list[tuple[str, int]] = []
        self.gates: dict[str, threading.Event] = {}  #: loads of a model wait for its gate
        self.broken: set[tuple[str, int]] = set()
        self.made: Callable[[str, int], Predictor] = lambda model, version: Heavy(
            version, self.sizes.get(model, 10 * MB)
        )
        self.known: dict[str, list[int]] = {}
        self.aliases: dict[str, dict[str, int]] = {}
        self.backgrounds: dict[tuple[str, int], Any] = {}

    def deploy(
        self,
        model: str,
        live: int = 1,
        *,
        canary: int = 0,
        shadow: int = 0,
        arms: Sequence[SplitArm] = (),
        **settings: Any,
    ) -> None:
        others = [(canary, Role.CANARY), (shadow, Role.SHADOW)]
        roles = [(live, Role.LIVE), *((v, role) for v, role in others if v)]
        deployed = [
            Deployment(model=model, version=v, role=role, weight=0.5 if canary else 1.0)
            for v, role in roles
        ]
        self.wanted[model] = Wanted(
            deployments=deployed, settings=EndpointSettings(**settings), arms=list(arms)
        )
        self.generations[model] = self.generations.get(model, 0) + 1

    def deployed(self, due: Due) -> tuple[dict[str, int], dict[str, Wanted]]:
        changed = {model: self.wanted[model] for model in due(self.generations)}
        return dict(self.generations), changed

    def loader(self, model: str, version: int) -> Callable[[], Predictor]:
        def load() -> Predictor:
            self.loads.append((model, version))
            if model in self.gates:
                assert self.gates[model].wait(20)
            if (model, version) in self.broken:
                raise ZeroDivisionError("no luck")
            return self.made(model, version)

        return load

    def baseline(self, model: str, version: int) -> Predictor | None:  # noqa: ARG002
        return None

    def kept(self, address: str) -> bytes:
        raise Conflict(f"{address} is not kept")

    def background(self, model: str, version: int) -> Any:
        return self.backgrounds.get((model, version))

    def described(self, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Described]:
        return {
            (m, v): Described(signature=SIGNATURE, size=self.sizes.get(m, 10 * MB))
            for m, v in versions
        }

    def names(self, policies: Mapping[str, str]) -> dict[str, Names]:
        return {
            m: naming.chosen(naming.read(said), self.known.get(m, []), self.aliases.get(m, {}))
            for m, said in policies.items()
        }

    def explainer(self, model: str, version: int, predictor: Predictor) -> Explainer:  # noqa: ARG002
        raise Conflict(f"{model}/{version} has no background")
