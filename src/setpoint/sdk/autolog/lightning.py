"""Lightning: ``Trainer(logger=run.callback("lightning"))``.

Its loggers are told each value once, at its step; its callbacks would have to guess.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from setpoint.sdk.tracked import Tracked


class RunLogger(Logger):  # type: ignore[misc]
    """Logs hyperparameters, and what the module logs, from the process of rank 0.

    With `checkpoints`, the best checkpoint becomes an artifact when the training is over.
    """

    def __init__(self, run: Tracked, *, checkpoints: bool = False) -> None:
        super().__init__()
        self._run = run
        self._checkpoints = checkpoints
        self._best = ""

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

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._best = checkpoint_callback.best_model_path

    @rank_zero_only  # type: ignore[untyped-decorator]
    def finalize(self, status: str) -> None:  # noqa: ARG002 - Lightning's
        if self._checkpoints and self._best:
            best = Path(self._best)
            self._run.artifact(f"checkpoints/{best.name}", best)


def callback(run: Tracked, *, checkpoints: bool = False) -> RunLogger:
    """Return the logger."""
    return RunLogger(run, checkpoints=checkpoints)
