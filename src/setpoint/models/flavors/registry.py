"""Which flavors there are. A module is imported when its flavor is asked for.

Other packages bring theirs by entry points in the group ``setpoint.flavors``; theirs are asked
first, so that a package may know its own kind of model better than we do.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from setpoint.errors import Invalid, MissingExtra
from setpoint.models.protocols import Flavor

GROUP = "setpoint.flavors"

#: Asked in this order: many estimators are scikit-learn's too, models of Keras may be PyTorch's,
#: and all are Python's.
FLAVORS = {
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "keras": "Keras",
    "torch": "Torch",
    "tensorflow": "TensorFlow",
    "transformers": "Transformers",
    "onnx": "Onnx",
    "mlflow": "MLflow",
    "sklearn": "Sklearn",
    "python": "Python",
}


def flavor(name: str) -> Flavor:
    """Return the flavor of this name.

    Raises:
        Invalid: If nothing here knows such a flavor.
        MissingExtra: If it is another package's, and that cannot be imported.
    """
    if name in FLAVORS:
        made: Flavor = getattr(import_module(f"setpoint.models.flavors.{name}"), FLAVORS[name])()
        return made
    brought = _brought().get(name)
    if brought is None:
        known = ", ".join([*FLAVORS, *_brought()])
        raise Invalid(f"no flavor {name!r}", hint=f"there are {known}")
    try:
        found: Flavor = brought.load()()
    except ImportError as error:
        raise MissingExtra(
            f"the flavor {name!r} cannot be imported: {error}", where=brought.value
        ) from None
    return found


def module_of(name: str) -> str:
    """Return the module that a flavor is in.

    Raises:
        Invalid: If nothing here knows such a flavor.
    """
    if name in FLAVORS:
        return f"setpoint.models.flavors.{name}"
    return type(flavor(name)).__module__


def detect(model: Any) -> str:
    """Return the name of the flavor of a trained model, or of the file or folder at a path.

    Raises:
        Invalid: If it is nothing that predicts.
    """
    for name in (*_brought(), *FLAVORS):
        if flavor(name).detect(model):
            return name
    if isinstance(model, Path):
        raise Invalid(
            f"{model.name} is no model that is known here",
            where=str(model),
            hint="see the list of files in: setpoint models add --help",
        )
    raise Invalid(
        f"a {type(model).__name__} cannot predict",
        hint="give an object with predict_proba or predict, or a function",
    )


def of_package(model: Any, *packages: str) -> bool:
    """Tell whether a model's class, or one that it derives from, is of one of these packages.

    Its library need not be imported to tell.
    """
    return any(base.__module__.partition(".")[0] in packages for base in type(model).__mro__)


@cache
def _brought() -> dict[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP) if each.name not in FLAVORS}
