"""Keras: ``model.fit(…, callbacks=[run.callback("keras")])``."""

from typing import Any

from keras.callbacks import Callback as Base

from setpoint.sdk.tracked import Tracked


class Callback(Base):  # type: ignore[misc]
    """Logs params, and each epoch's metrics at its number.

    With `every`, metrics of each so many batches too, below ``batch/``.
    """

    def __init__(self, run: Tracked, *, every: int = 0) -> None:
        super().__init__()
        self._run = run
        self._every = every
        self._batches = 0

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras's
        optimizer = getattr(self.model, "optimizer", None)
        settings = optimizer.get_config() if optimizer is not None else {}
        self._run.params({**(self.params or {}), "optimizer": settings})

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        step, self._batches = self._batches, self._batches + 1
        if self._every and step % self._every == 0 and logs:
            self._run.log({"batch": logs}, step=step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._run.log(logs or {}, step=epoch)


def callback(run: Tracked, *, every: int = 0) -> Callback:
    """Return the callback."""
    return Callback(run, every=every)
