"""A registered version, loaded and ready to answer."""

import math
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.artifacts.contract import ObjectStore
from setpoint.config import without_telemetry
from setpoint.models import compiled
from setpoint.models.entities import ModelVersion, Signature, Stored
from setpoint.models.flavors.answers import answering
from setpoint.models.flavors.registry import flavor
from setpoint.models.protocols import Ask, Floats, Given, Predictor, Rows
from setpoint.models.rows import numeric, only


class Loaded:
    """A `Predictor` over a function from rows to scores, or to all outputs.

    Rows with a NaN or an infinity that the model does not take score NaN, whatever the
    other rows of the request are: the caller knows which rows have no answer.
    """

    def __init__(self, signature: Signature, score: Ask) -> None:
        self.inputs = signature.inputs
        self.signature = signature
        takes_all = signature.missing and signature.infinite
        self.predict: Ask = score if takes_all else _guarded(signature, score)


def _guarded(signature: Signature, score: Ask) -> Ask:
    def predict(rows: Rows) -> Any:
        numbers = rows if type(rows) is np.ndarray else numeric(rows, signature)
        flat = numbers.ravel()
        if math.isfinite(flat.dot(flat)):  # under 1 µs for one row, and silent at inf - inf
            return score(rows)
        numbers = numeric(rows, signature)
        good = ~_refused(numbers, signature)
        return _spread(score(only(rows, good)), good)

    return predict


def _spread(found: Floats | Given, good: NDArray[np.bool_]) -> Any:
    """Return the answers of the good rows in their places, and none in the others."""
    if isinstance(found, dict):
        return {name: _spread(each, good) for name, each in found.items()}
    empty = None if found.dtype == object else np.nan
    spread: NDArray[Any] = np.full((len(good), *found.shape[1:]), empty, dtype=found.dtype)
    spread[good] = found
    return spread


def _refused(numbers: Floats, signature: Signature) -> NDArray[np.bool_]:
    bad = np.zeros(numbers.shape, dtype=np.bool_)
    if not signature.missing:
        bad |= np.isnan(numbers)
    if not signature.infinite:
        bad |= np.isinf(numbers)
    return np.asarray(bad.any(axis=1))


#: Modules of libraries whose models are pickles of them.
_MODULES = {
    "": ("onnxruntime",),
    "sklearn": (
        *("sklearn.compose", "sklearn.ensemble", "sklearn.linear_model", "sklearn.pipeline"),
        *("sklearn.preprocessing", "sklearn.tree"),
    ),
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost",),
    "catboost": ("catboost",),
}


def prepare(flavor: str) -> None:
    """Import what versions of a flavor need; of ``""``, what compiled ones need.

    Libraries take seconds to import, in which Python's lock is held for long at a time: better
    before anything is answered than when the first of their models is asked for.
    """
    without_telemetry()
    for module in _MODULES.get(flavor, ()):
        with suppress(ImportError):  # loading a model says what is missing
            import_module(module)


def load(store: ObjectStore, version: ModelVersion | Stored) -> Predictor:
    """Load a version: the compiled model where its parity held, else the native one.

    The store verifies the bytes against the address that was registered, so a pickle is
    only ever loaded if it is, bit for bit, the one that was registered here. Neither
    scikit-learn nor LightGBM is imported for a compiled model.

    Raises:
        NotFound: If the artifact is missing.
        Invalid: If it is corrupt or cannot be loaded here.
        MissingExtra: If a package it needs is not installed.
    """
    if version.parts:
        from setpoint.models.graphs import running  # noqa: PLC0415 - most are none

        return running.load(store, version, load)
    if version.onnx is not None:
        answer = compiled.scorer(store.get(version.onnx), version.signature)
    else:
        native = store.get(version.artifact)
        ask = flavor(version.flavor).load(native, version.signature)
        answer = answering(ask, version.signature)
    return Loaded(version.signature, answer)
