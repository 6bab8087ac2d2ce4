"""Optuna: ``study.optimize(objective, callbacks=[run.callback("optuna")])``."""

from collections.abc import Callable
from typing import Any

from setpoint.sdk.tracked import Tracked


def callback(run: Tracked) -> Callable[[Any, Any], None]:
    """Log each trial at its number: its values, numeric params, and the best value so far.

    At the end of each trial the tags ``best_trial`` and ``best_params`` tell the best one.
    """

    def after(study: Any, trial: Any) -> None:
        several = len(study.directions) > 1
        values: dict[str, float] = {}
        for i, value in enumerate(trial.values or ()):
            values[f"value/{i}" if several else "value"] = value
        for name, value in trial.params.items():
            if isinstance(value, int | float):
                values[f"params/{name}"] = value
        if not several and trial.state.name == "COMPLETE":
            values["best"] = study.best_value
            if study.best_trial.number == trial.number:
                run.tags(best_trial=trial.number, best_params=trial.params)
        values[f"state/{trial.state.name.lower()}"] = 1.0
        run.log(values, step=trial.number)

    return after
