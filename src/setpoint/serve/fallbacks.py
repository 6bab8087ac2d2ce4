"""What answers when a version fails: its baseline, a constant, or a function of the project."""

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.serve.arms import Arm
from setpoint.serve.entities import EndpointSettings
from setpoint.serve.protocols import Floats, Input, Predictor, Source

_log = logging.getLogger(__name__)


class Constant:
    """Answers every row with the same number."""

    inputs: Sequence[Input] = ()

    def __init__(self, value: float) -> None:
        self._value = value

    def predict(self, rows: Floats | Mapping[str, NDArray[Any]]) -> Floats:
        return np.full(len(rows), self._value)


class Code:
    """Answers what a function of the project says of the columns of the rows."""

    def __init__(self, function: Callable[[dict[str, NDArray[Any]]], Any], arm: Arm) -> None:
        self.inputs = arm.inputs
        self._function = function
        self._names = arm.names

    def predict(self, rows: Floats | Mapping[str, NDArray[Any]]) -> Floats:
        if isinstance(rows, Mapping):
            columns = dict(rows)
            count = len(next(iter(columns.values())))
        else:
            columns = dict(zip(self._names, rows.T, strict=True))
            count = len(rows)
        found = np.asarray(self._function(columns), dtype=np.float64)
        return np.full(count, found) if found.ndim == 0 else found


def rule(settings: EndpointSettings) -> object:
    """Return what decides which fallback an endpoint has, besides its versions."""
    return settings.fallback_value, settings.fallback_code


def fallback_of(
    source: Source, model: str, arm: Arm, settings: EndpointSettings, failed: Callable[[str], None]
) -> Arm | None:
    """Load and warm what answers when a version fails; None: nothing does.

    Without it the version serves all the same.

    Args:
        source: Of the version.
        model: The endpoint's.
        arm: The version.
        settings: The endpoint's.
        failed: Told of the model where loading fails.
    """
    version = arm.version
    try:
        predictor = _predictor(source, model, arm, settings)
        if predictor is None:
            return None
        found = Arm(version, predictor)
        if found.inputs:
            found.warm()
    except Exception:  # noqa: BLE001 - a model is foreign code
        failed(model)
        _log.exception("fallback does not load", extra={"model": model, "version": version})
        return None
    if set(found.names) <= set(arm.names):
        return found
    _log.warning("baseline takes other inputs", extra={"model": model, "version": version})
    return None


def _predictor(
    source: Source, model: str, arm: Arm, settings: EndpointSettings
) -> Predictor | None:
    if settings.fallback_value is None and not settings.fallback_code:
        return source.baseline(model, arm.version)
    if not arm.outputs.only_score or not arm.outputs.scored:
        _log.warning("a score is no answer of this version", extra={"version": arm.version})
        return None
    if settings.fallback_value is not None:
        return Constant(settings.fallback_value)
    found: Callable[..., Any] = pickle.loads(  # noqa: S301 - its address is in the settings
        source.kept(settings.fallback_code)
    )
    return Code(found, arm)
