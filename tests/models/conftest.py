"""Models to try the registry on: some trained here, some registered from elsewhere."""

from collections.abc import Callable

import pytest

from setpoint.db.local import LocalBackend
from setpoint.models import service
from setpoint.models.entities import Input, ModelVersion, Signature
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.registry.entities import Entry

Trains = Callable[..., ModelVersion]
Adds = Callable[..., Entry]


@pytest.fixture
def train(backend: LocalBackend) -> Trains:
    """Register a version of ``late`` as a training here does; a new run each time."""
    runs = iter(range(1, 1_000))

    def register(**changes: object) -> ModelVersion:
        values: dict[str, object] = {
            "model": "late",
            "run_id": f"run_{next(runs)}",
            "why": "first version",
            "flavor": "lightgbm",
            "artifact": "b3:00",
            "signature": Signature(inputs=[Input(name="distance", datatype="FP64")]),
        }
        return backend.call(service.register, service.Register(**(values | changes)))  # type: ignore[arg-type]

    return register


@pytest.fixture
def add(backend: LocalBackend) -> Adds:
    """Register a version of ``guest`` from elsewhere, the model too if it is not there."""

    def register(model: str = "guest", **changes: object) -> Entry:
        known = [each.model for each in backend.call(service.ls, service.ListModels()).models]
        if model not in known:
            backend.call(registry.create, commands.CreateModel(model=model))
        values: dict[str, object] = {"model": model, "source": "s3://bucket/model"}
        return backend.call(registry.add_version, commands.AddVersion(**(values | changes)))  # type: ignore[arg-type]

    return register
