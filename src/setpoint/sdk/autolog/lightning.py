"""Lightning: ``Trainer(callbacks=[run.callback("lightning")])``."""

from typing import Any

from lightning.pytorch import Callback as Base

from setpoint.sdk.tracked import Tracked


class Callback(Base):  # type: ignore[misc]
    """Logs hyperparameters, and what the module logs, at the trainer's global step."""

    def __init__(self, run: Tracked) -> None:
        super().__init__()
        self._run = run

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._run.params(dict(pl_module.hparams))

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.is_global_zero and trainer.global_step % trainer.log_every_n_steps == 0:
            self._log(trainer, trainer.logged_metrics)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self._log(trainer, {**trainer.callback_metrics, "epoch": trainer.current_epoch})

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if not trainer.sanity_checking:
            self._log(trainer, trainer.callback_metrics)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self._log(trainer, trainer.callback_metrics)

    def _log(self, trainer: Any, metrics: dict[str, Any]) -> None:
        if trainer.is_global_zero:
            self._run.log(metrics, step=trainer.global_step)


def callback(run: Tracked) -> Callback:
    """Return the callback."""
    return Callback(run)
