"""What people do with Setpoint's own client and what trains for them: Keras and Lightning.

``python sdk_journeys.py HOME [NAME…]``, as `sdk_torch_journeys` does.
"""

import math
import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import lightning
import numpy as np
import sdk_torch_journeys
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sdk_torch_journeys import Kept, X, Y, batches, begun, journey

sdk_torch_journeys.JOURNEYS.clear()  # its own are told elsewhere
_EPOCHS = 3


# Keras


def _keras() -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse", metrics=["mae"])
    return model


@journey
def keras_logs_epochs_batches_and_what_it_was_given(home: Path) -> None:
    model = _keras()
    with begun(home) as run:
        told = model.fit(
            X,
            Y,
            epochs=_EPOCHS,
            batch_size=16,
            validation_data=(X, Y),
            verbose=0,
            callbacks=[run.callback("keras", every=2)],
        )
        model.save(home / "model.keras")
        run.artifact("model.keras", home / "model.keras")
    kept = Kept(home, run.id)
    assert kept.run.status == "finished"
    for name in ("loss", "mae", "val_loss"):
        assert kept.points(name) == list(enumerate(told.history[name]))
    assert kept.steps("batch/loss") == list(range(0, 12, 2))
    assert kept.run.params["epochs"] == _EPOCHS
    assert kept.run.params["optimizer.name"].lower() == "sgd"
    assert math.isclose(kept.run.params["optimizer.learning_rate"], 0.05, rel_tol=1e-6)
    (home / "again.keras").write_bytes(kept.bytes("model.keras"))
    again = keras.models.load_model(home / "again.keras")
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0))


@journey
def keras_that_is_interrupted_leaves_what_it_logged(home: Path) -> None:
    class Interrupting(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            if epoch == 1:
                raise KeyboardInterrupt

    try:
        with begun(home) as run:
            callbacks = [run.callback("keras"), Interrupting()]
            _keras().fit(X, Y, epochs=9, verbose=0, callbacks=callbacks)
    except KeyboardInterrupt:
        pass
    kept = Kept(home, run.id)
    assert (kept.run.status, kept.run.error) == ("failed", "KeyboardInterrupt")
    assert kept.steps("loss") == [0, 1]


# Lightning


class Line(lightning.LightningModule):
    """A regression by one layer."""

    def __init__(self, lr: float, broken_at: int = -1) -> None:  # noqa: ARG002 - saved
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, _: int) -> Any:
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        if self.current_epoch == self.hparams["broken_at"]:
            raise RuntimeError("out of luck")
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.layer(x), y))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def _trainer(home: Path, logger: Any, **how: Any) -> Any:
    return lightning.Trainer(
        logger=logger,
        max_epochs=_EPOCHS,
        accelerator="cpu",
        default_root_dir=home,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=2,
        **how,
    )


@journey
def lightning_logs_steps_epochs_params_and_its_best_checkpoint(home: Path) -> None:
    best = ModelCheckpoint(home / "checkpoints", monitor="val_loss")
    with begun(home) as run:
        logger = run.callback("lightning", checkpoints=True)
        trainer = _trainer(home, logger, callbacks=[best])
        trainer.fit(Line(lr=0.05), batches(), batches())
    kept = Kept(home, run.id)
    assert kept.steps("loss_step") == [1, 3, 5, 7, 9, 11]
    assert kept.steps("loss_epoch") == [3, 7, 11]
    assert kept.steps("val_loss") == [3, 7, 11]
    assert kept.run.params == {"lr": 0.05, "broken_at": -1}
    assert kept.run.metrics["val_loss"] == float(trainer.callback_metrics["val_loss"])
    path = f"checkpoints/{Path(best.best_model_path).name}"
    assert kept.bytes(path) == Path(best.best_model_path).read_bytes()


@journey
def lightning_that_breaks_leaves_what_it_logged(home: Path) -> None:
    try:
        with begun(home) as run:
            module = Line(lr=0.05, broken_at=1)
            _trainer(home, run.callback("lightning")).fit(module, batches())
    except RuntimeError:
        pass
    kept = Kept(home, run.id)
    assert (kept.run.status, kept.run.error) == ("failed", "RuntimeError: out of luck")
    assert kept.steps("loss_epoch") == [3]


@journey
def lightning_whose_loss_is_no_number_is_told(home: Path) -> None:
    with begun(home) as run:
        run.watch("loss_step")
        _trainer(home, run.callback("lightning")).fit(Line(lr=1e30), batches())
    tags = Kept(home, run.id).run.tags
    assert tags["setpoint.alert.loss_step.nan"].startswith("loss_step is ")


if __name__ == "__main__":
    sdk_torch_journeys.main()
