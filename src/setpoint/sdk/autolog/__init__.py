"""What frameworks call while they train, to log into a run.

One file a framework, loaded when it is asked for. Each has ``callback(run, **options)``,
which returns what that framework takes as a callback.
"""

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from setpoint.errors import Invalid, MissingExtra

if TYPE_CHECKING:
    from setpoint.sdk.tracked import Tracked

FRAMEWORKS = ("keras", "lightgbm", "lightning", "optuna", "sklearn", "torch", "xgboost")


def callback(run: "Tracked", framework: str, **options: Any) -> Any:
    """Return a callback of a framework that logs into `run`.

    Raises:
        Invalid: If the framework is not known.
        MissingExtra: If it is not installed, or too old.
    """
    if framework not in FRAMEWORKS:
        close = difflib.get_close_matches(framework, FRAMEWORKS, n=1)
        known = ", ".join(FRAMEWORKS)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {known}"
        raise Invalid(f"there is no callback for {framework!r}", hint=hint)
    try:
        module = importlib.import_module(f"setpoint.sdk.autolog.{framework}")
    except ImportError as error:
        raise MissingExtra(
            f"{framework} cannot be used: {error}", hint=f"pip install -U {_PACKAGES[framework]}"
        ) from None
    return module.callback(run, **options)


_PACKAGES = {**dict(zip(FRAMEWORKS, FRAMEWORKS, strict=True)), "sklearn": "scikit-learn"}
