"""A registered version, loaded and ready to answer."""

from setpoint.artifacts.store import ObjectStore
from setpoint.models import compiled
from setpoint.models.entities import ModelVersion, Signature
from setpoint.models.flavors.registry import flavor
from setpoint.models.protocols import Predictor, Score


class Loaded:
    """A `Predictor` over a function from rows to scores."""

    def __init__(self, signature: Signature, score: Score) -> None:
        self.inputs = signature.inputs
        self.signature = signature
        self.predict = score


def load(store: ObjectStore, version: ModelVersion) -> Predictor:
    """Load a version: the compiled model where its parity held, else the native one.

    The store verifies the bytes against the address that was registered, so a pickle is
    only ever loaded if it is, bit for bit, the one that was registered here. Neither
    scikit-learn nor LightGBM is imported for a compiled model.

    Raises:
        NotFound: If the artifact is missing.
        Invalid: If it is corrupt or cannot be loaded here.
        MissingExtra: If a package it needs is not installed.
    """
    if version.onnx is not None:
        score = compiled.scorer(store.get(version.onnx), version.signature)
    else:
        native = store.get(version.artifact)
        score = flavor(version.flavor).load(native, version.signature)
    return Loaded(version.signature, score)
