"""Setpoint: declare what a model must hold; it is kept there.

Everything here is loaded when it is first used: importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from setpoint.control.spec.build import Model
    from setpoint.data.features import feature_view, features
    from setpoint.sdk.runs import run

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "feature_view", "features", "run"]

_HOME = {
    "Model": "setpoint.control.spec.build",
    "feature_view": "setpoint.data.features",
    "features": "setpoint.data.features",
    "run": "setpoint.sdk.runs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'setpoint' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - the point is to import late

    return getattr(importlib.import_module(_HOME[name]), name)
