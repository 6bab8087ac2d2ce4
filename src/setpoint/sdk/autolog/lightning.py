"""Lightning: ``Trainer(logger=run.callback("lightning"))``.

Its loggers are told each value once, at its step; its callbacks would have to guess.
"""

from argparse import Namespace
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from setpoint.sdk.tracked import Tracked


class RunLogger(Logger):  # type: ignore[misc]
    """Logs hyperparameters, and what the module logs, from the process of rank 0."""

    def __init__(self, run: Tracked) -> None:
        super().__init__()
        self._run = run

    @property
    def name(self) -> str:
        return self._run.experiment

    @property
    def version(self) -> str:
        return self._run.id

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._run.log(metrics, step=step)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: Namespace | dict[str, Any], *_: Any, **__: Any) -> None:
        self._run.params(vars(params) if isinstance(params, Namespace) else params)


def callback(run: Tracked) -> RunLogger:
    """Return the logger."""
    return RunLogger(run)
