"""LightGBM: ``lgb.train(…, callbacks=[run.callback("lightgbm")])``."""

from typing import Any

from setpoint.sdk.tracked import Tracked


class Callback:
    """Logs params once, and each evaluation as ``DATASET/METRIC`` at its iteration."""

    order = 15  #: LightGBM's: after it has printed, before it stops early

    def __init__(self, run: Tracked) -> None:
        self._run = run
        self._begun = False

    def __call__(self, env: Any) -> None:
        if not self._begun:
            self._begun = True
            self._run.params({name: value for name, value in env.params.items() if _plain(value)})
        values = {}
        for dataset, metric, value, _, *spread in env.evaluation_result_list or ():
            values[f"{dataset}/{metric}"] = value
            if spread:  # of cross-validation
                values[f"{dataset}/{metric}/stdv"] = spread[0]
        self._run.log(values, step=env.iteration)


def callback(run: Tracked) -> Callback:
    """Return the callback."""
    return Callback(run)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | tuple)
