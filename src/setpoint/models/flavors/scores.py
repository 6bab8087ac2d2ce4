"""From whatever a Python estimator returns to one float a row."""

from collections.abc import Callable
from typing import Any

import numpy as np

from setpoint.errors import Invalid
from setpoint.models.entities import Signature
from setpoint.models.protocols import Floats, Rows, Score


def scorer(model: Any, signature: Signature, prepare: Callable[[Rows, Signature], Any]) -> Score:
    """Return a function from rows to the positive class's probability, or the value."""
    ask = _ask(model, signature.kind)
    classes = list(getattr(model, "classes_", []))

    def score(rows: Rows) -> Floats:
        values = prepare(rows, signature)
        if not len(values):
            return np.empty(0)
        return _one_column(np.asarray(ask(values), dtype=np.float64), classes)

    return score


def _ask(model: Any, kind: str) -> Callable[[Any], Any]:
    names = ("predict_proba", "predict") if kind == "classification" else ("predict",)
    for name in names:
        if hasattr(model, name):
            found: Callable[[Any], Any] = getattr(model, name)
            return found
    if callable(model):
        called: Callable[[Any], Any] = model
        return called
    raise Invalid(f"a {type(model).__name__} has no {' or '.join(names)}")


def _one_column(found: Floats, classes: list[Any]) -> Floats:
    if found.ndim == 1:
        return found
    if found.shape[1] == 1:
        if len(classes) == 1:  # it only ever saw one class, and is sure of it
            return np.full(len(found), float(bool(classes[0])))
        return np.ascontiguousarray(found[:, 0])
    if found.shape[1] != 2:
        raise Invalid(
            f"the model gives {found.shape[1]} probabilities a row",
            hint="Setpoint serves yes/no classifiers and regressions",
        )
    return np.ascontiguousarray(found[:, 1])
