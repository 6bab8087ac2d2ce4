"""Setpoint: declare what a model must hold; it is kept there.

Everything here is loaded when it is first used: importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from setpoint.control.spec.build import Model
    from setpoint.data.features import feature_view, features
    from setpoint.sdk.capture import Capture
    from setpoint.sdk.media.audio import Audio
    from setpoint.sdk.media.charts import ConfusionMatrix, Histogram, PrecisionRecall, RocCurve
    from setpoint.sdk.media.image import Image
    from setpoint.sdk.media.table import Table
    from setpoint.sdk.media.text import Text
    from setpoint.sdk.models import add_model
    from setpoint.sdk.runs import run

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "Capture",
    "ConfusionMatrix",
    "Histogram",
    "Image",
    "Model",
    "PrecisionRecall",
    "RocCurve",
    "Table",
    "Text",
    "__version__",
    "add_model",
    "feature_view",
    "features",
    "run",
]

_HOME = {
    "Audio": "setpoint.sdk.media.audio",
    "Capture": "setpoint.sdk.capture",
    "ConfusionMatrix": "setpoint.sdk.media.charts",
    "Histogram": "setpoint.sdk.media.charts",
    "Image": "setpoint.sdk.media.image",
    "Model": "setpoint.control.spec.build",
    "PrecisionRecall": "setpoint.sdk.media.charts",
    "RocCurve": "setpoint.sdk.media.charts",
    "Table": "setpoint.sdk.media.table",
    "Text": "setpoint.sdk.media.text",
    "add_model": "setpoint.sdk.models",
    "feature_view": "setpoint.data.features",
    "features": "setpoint.data.features",
    "run": "setpoint.sdk.runs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'setpoint' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - the point is to import late

    return getattr(importlib.import_module(_HOME[name]), name)
