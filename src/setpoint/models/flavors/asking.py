"""Which method of a Python estimator is asked, and what it is handed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from setpoint.errors import Invalid
from setpoint.models.entities import Signature
from setpoint.models.protocols import Ask, Rows


def asker(model: Any, signature: Signature, prepare: Callable[[Rows, Signature], Any]) -> Ask:
    """Return what hands rows to the method of `model` that gives most.

    Of a classifier that is ``predict_proba``, else ``predict``, else the model itself is called.
    """
    ask = _method(model, signature.kind)
    classes = list(getattr(model, "classes_", []))

    def answer(rows: Rows) -> Any:
        found = ask(prepare(rows, signature))
        if len(classes) == 1 and getattr(found, "shape", ())[1:] == (1,):
            return np.full(len(found), float(bool(classes[0])))  # sure of the one class it saw
        return found

    return answer


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
