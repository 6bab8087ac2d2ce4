"""An inference server for foreign clients: ``python -m tests.compat.inference_server HOME PORT``.

Model ``m`` adds two numbers; its canary, which answers nobody by itself, adds ten times as much.
Model ``t`` adds a number and the length of a text. Model ``colour`` tells three apart by name.
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from tests.serve.made import Input, Sum

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.config import serving, settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.models import adding, entities, service
from setpoint.models.explaining import background
from setpoint.models.runtime import load
from setpoint.serve import store
from setpoint.serve.entities import Deployment, Role
from setpoint.serve.listening import How
from setpoint.serve.main import run
from setpoint.serve.protocols import Predictor


def _colour(store: ObjectStore) -> Predictor:
    """Return a classifier that answers with texts, one of them outside of ASCII."""
    rows = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]] * 5)
    model = LogisticRegression(C=100.0).fit(rows, ["grün", "red", "blue"] * 5)
    return load(store, adding.stored(store, model, rows))


def _load(model: str, version: int, store: ObjectStore) -> Predictor:
    if model == "colour":
        return _colour(store)
    inputs = {"m": [Input("a"), Input("b")], "t": [Input("a"), Input("text", "BYTES")]}
    return Sum(10.0 ** (version - 1), inputs[model])


def _register(backend: LocalBackend) -> None:
    """Put what explaining takes on record: a background for version 1 of ``m``."""
    names = [entities.Input(name=name, datatype="FP64") for name in ("a", "b")]
    signature = entities.Signature(inputs=names, kind="regression")
    rows = background.encode(np.array([[0.0, 1.0], [2.0, 1.0]]), signature)
    command = service.Register(
        model="m",
        run_id="run_1",
        why="to be explained",
        flavor="python",
        artifact="",
        signature=signature,
        background=open_store(backend.settings).put(rows),
    )
    backend.call(service.register, command)


def main(home: str, grpc_port: int) -> None:
    where = settings(home)
    backend = open_local(where)
    with backend.engine.begin() as conn:
        for model in ("m", "t", "colour"):
            deployed = [Deployment(model=model, version=1, role=Role.LIVE, weight=1.0)]
            if model == "m":
                canary = Deployment(model=model, version=2, role=Role.CANARY, weight=0.0)
                deployed.append(canary)
            store.deploy(conn, model, deployed)
    _register(backend)
    backend.engine.dispose()
    objects = open_store(where)
    run(
        where,
        port=0,
        load=lambda model, version: _load(model, version, objects),
        how=How(grpc_port=grpc_port, async_output=serving().async_output),
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
