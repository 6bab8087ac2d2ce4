"""Which method of a Python estimator is asked, and what it is handed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.models.entities import Signature
from setpoint.models.protocols import Ask, Rows


def asker(model: Any, signature: Signature, prepare: Callable[[Rows, Signature], Any]) -> Ask:
    """Return what hands rows to the method of `model` that gives most.

    Of a classifier that is ``predict_proba``, else ``predict``, else the model itself is called.
    A classifier of several targets gives the probabilities and the label of each, numbered.
    """
    ask = _method(model, signature.kind)
    classes = list(getattr(model, "classes_", []))

    def answer(rows: Rows) -> Any:
        found = ask(prepare(rows, signature))
        if isinstance(found, list) and all(getattr(each, "ndim", 0) == 2 for each in found):
            return _of_targets(found, classes)
        if len(classes) == 1 and getattr(found, "shape", ())[1:] == (1,):
            return np.full(len(found), float(bool(classes[0])))  # sure of the one class it saw
        return found

    return answer


def _of_targets(found: list[NDArray[Any]], classes: list[Any]) -> dict[str, NDArray[Any]]:
    """Return what a classifier of several targets gives, target by target."""
    named = {f"probabilities_{at}": each for at, each in enumerate(found)}
    for at, (each, labels) in enumerate(zip(found, classes, strict=True)):
        named[f"label_{at}"] = np.asarray(labels)[each.argmax(axis=1)]
    return named


def _method(model: Any, kind: str) -> Callable[[Any], Any]:
    names = ("predict",) if kind == "regression" else ("predict_proba", "predict", "transform")
    for name in names:
        if hasattr(model, name):
            found: Callable[[Any], Any] = getattr(model, name)
            return found
    if callable(model):
        called: Callable[[Any], Any] = model
        return called
    raise Invalid(f"a {type(model).__name__} has no {' or '.join(names)}")
