"""What people do with MLflow's client and a framework for deep learning.

``python mlflow_frameworks_journeys.py URL [NAME…]``, as `mlflow_journeys` does.
"""

import os
import tempfile
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import lightning
import mlflow
import mlflow_journeys
import numpy as np
import pandas as pd
import torch
from mlflow import MlflowClient
from mlflow_journeys import journey
from torch.utils.data import DataLoader, TensorDataset

mlflow_journeys.JOURNEYS.clear()  # its own are told elsewhere
torch.set_num_threads(1)

_EPOCHS = 3
X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
Y = X[:, :1] - 2 * X[:, 1:2]


class Line(lightning.LightningModule):
    """A regression by one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return self.layer(x)

    def training_step(self, batch: Any, _: int) -> Any:
        x, y = batch
        loss = torch.nn.functional.mse_loss(self(x), y)
        self.log("loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self(x), y))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def _batches() -> Any:
    return DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=16)


def _fit(module: Line, folder: str) -> None:
    trainer = lightning.Trainer(
        max_epochs=_EPOCHS,
        accelerator="cpu",
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        logger=False,
    )
    trainer.fit(module, _batches(), _batches())


def _keras() -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse", metrics=["mae"])
    return model


def _steps(client: MlflowClient, run: str, metric: str) -> list[int]:
    return [point.step for point in client.get_metric_history(run, metric)]


def _is_loaded_by_its_alias(client: MlflowClient, uri: str, name: str, wanted: Any) -> None:
    version = mlflow.register_model(uri, name)
    client.set_registered_model_alias(name, "champion", version.version)
    loaded = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    np.testing.assert_allclose(np.asarray(loaded.predict(X)), wanted, rtol=1e-5)


def _is_evaluated(client: MlflowClient, uri: str) -> None:
    data = pd.DataFrame({"x": list(X), "y": Y[:, 0]})
    arrays = np.stack(data["x"])
    with mlflow.start_run() as run:
        result = mlflow.models.evaluate(
            lambda _: np.asarray(mlflow.pyfunc.load_model(uri).predict(arrays)).reshape(-1),
            data=data.drop(columns="x").assign(row=range(len(data))),
            targets="y",
            model_type="regressor",
            evaluator_config={"log_explainer": False},
        )
    kept = client.get_run(run.info.run_id).data.metrics
    assert kept["mean_squared_error"] == result.metrics["mean_squared_error"] < 10


@journey
def lightning_logs_by_itself(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    module = Line()
    mlflow.pytorch.autolog()
    try:
        with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
            _fit(module, folder)
    finally:
        mlflow.pytorch.autolog(disable=True)
    run_id = run.info.run_id
    found = client.get_run(run_id)
    assert found.data.params["epochs"] == str(_EPOCHS)
    assert found.data.params["optimizer_name"] == "SGD"
    assert found.data.params["lr"] == "0.05"
    assert _steps(client, run_id, "val_loss") == list(range(_EPOCHS))
    assert len(_steps(client, run_id, "loss_epoch")) == _EPOCHS
    assert "model_summary.txt" in {file.path for file in client.list_artifacts(run_id)}
    (output,) = found.outputs.model_outputs
    with torch.no_grad():
        wanted = module(torch.tensor(X)).numpy()
    _is_loaded_by_its_alias(client, f"models:/{output.model_id}", name, wanted)


@journey
def a_module_of_pytorch_is_logged_loaded_and_evaluated(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    with mlflow.start_run() as run:
        info = mlflow.pytorch.log_model(model, name="net", input_example=X[:2])
        mlflow.pytorch.log_state_dict(model.state_dict(), "state")
    with torch.no_grad():
        wanted = model(torch.tensor(X)).numpy()
    _is_loaded_by_its_alias(client, info.model_uri, name, wanted)
    with torch.no_grad():
        again = mlflow.pytorch.load_model(f"models:/{name}@champion")(torch.tensor(X)).numpy()
    np.testing.assert_array_equal(again, wanted)
    state = mlflow.pytorch.load_state_dict(f"runs:/{run.info.run_id}/state")
    assert state.keys() == model.state_dict().keys()
    _is_evaluated(client, info.model_uri)


@journey
def a_tensorboard_writer_of_pytorch_logs_by_itself(client: MlflowClient, name: str) -> None:
    from mlflow.utils.autologging_utils.metrics_queue import flush_metrics_queue  # noqa: PLC0415
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

    mlflow.set_experiment(name)
    mlflow.pytorch.autolog(log_every_n_step=1)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            SummaryWriter(folder) as writer,
            mlflow.start_run() as run,
        ):
            for step in range(5):
                writer.add_scalar("loss", 1 / (step + 1), step)
            flush_metrics_queue()
    finally:
        mlflow.pytorch.autolog(disable=True)
    assert _steps(client, run.info.run_id, "loss") == list(range(5))


@journey
def keras_logs_by_itself(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    model = _keras()
    mlflow.keras.autolog()
    try:
        with mlflow.start_run() as run:
            model.fit(X, Y, epochs=_EPOCHS, batch_size=16, validation_data=(X, Y), verbose=0)
    finally:
        mlflow.keras.autolog(disable=True)
    run_id = run.info.run_id
    found = client.get_run(run_id)
    assert found.data.params["epochs"] == str(_EPOCHS)
    assert found.data.params["batch_size"] == "16"
    assert found.data.params["optimizer_name"].lower() == "sgd"
    assert _steps(client, run_id, "loss") == list(range(_EPOCHS))
    assert len(_steps(client, run_id, "validation_mae")) == _EPOCHS
    assert "model_summary.txt" in {file.path for file in client.list_artifacts(run_id)}
    (output,) = found.outputs.model_outputs
    wanted = model.predict(X, verbose=0)
    _is_loaded_by_its_alias(client, f"models:/{output.model_id}", name, wanted)


@journey
def a_model_of_keras_is_logged_loaded_and_evaluated(client: MlflowClient, name: str) -> None:
    mlflow.set_experiment(name)
    model = _keras()
    with mlflow.start_run():
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[mlflow.keras.MlflowCallback()])
        info = mlflow.keras.log_model(model, name="net")
    _is_loaded_by_its_alias(client, info.model_uri, name, model.predict(X, verbose=0))
    _is_evaluated(client, info.model_uri)


if __name__ == "__main__":
    mlflow_journeys.main()
