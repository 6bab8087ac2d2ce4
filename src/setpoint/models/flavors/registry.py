"""Which flavors there are. A module is imported when its flavor is asked for."""

from importlib import import_module
from typing import Any

from setpoint.errors import Invalid
from setpoint.models.protocols import Flavor

#: Asked in this order: LightGBM's estimators are scikit-learn's too, and all are Python's.
FLAVORS = {"lightgbm": "LightGBM", "sklearn": "Sklearn", "python": "Python"}


def flavor(name: str) -> Flavor:
    """Return the flavor of this name.

    Raises:
        Invalid: If this version of Setpoint knows no such flavor.
    """
    if name not in FLAVORS:
        raise Invalid(f"no flavor {name!r}", hint=f"there are {', '.join(FLAVORS)}")
    made: Flavor = getattr(import_module(f"setpoint.models.flavors.{name}"), FLAVORS[name])()
    return made


def detect(model: Any) -> str:
    """Return the name of the flavor of a trained model.

    Raises:
        Invalid: If it is nothing that predicts.
    """
    for name in FLAVORS:
        if flavor(name).detect(model):
            return name
    raise Invalid(
        f"train returned a {type(model).__name__}, which cannot predict",
        hint="return an object with predict_proba or predict, or a function",
    )
