"""Versions served as they were trained: what is packed for them is all that they need."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from tests.cli.running import until
from tests.packaging import made
from tests.packaging.test_build import pinged
from tests.ports import free_port

from setpoint.artifacts.contract import ObjectStore
from setpoint.db.local import LocalBackend
from setpoint.models import adding
from setpoint.models.entities import ModelVersion, Part
from setpoint.models.flavors import pickles
from setpoint.models.graphs import composing
from setpoint.models.graphs.entities import Chain, Ensemble, Graph, Model, Transform
from setpoint.models.runtime import load
from setpoint.models.service import register
from setpoint.packaging import dependencies, images
from setpoint.serve import package
from setpoint.serve.client import Inference

ROW = {"distance": [0.5, -1.5], "gusts": [1.0, 0.25]}


def light() -> Any:
    model = lightgbm.LGBMClassifier(n_estimators=9, n_jobs=1, verbose=-1, random_state=0)
    return model.fit(made.ROWS.to_numpy(), made.LATE)


@contextmanager
def packed(version: ModelVersion, objects: ObjectStore, folder: Path) -> Iterator[Inference]:
    """Serve a version from what is packed for it, and nothing else that is installed here."""
    manifest = package.manifest_of(version)
    need = images.needed(manifest, objects)
    files = {f"server/{path}": data for path, data in need.server.items()}
    for name in need.distributions:
        for path, data in dependencies._files(metadata.distribution(name)):
            files[f"packages/{path}"] = data
    files |= {f"model/{k}": v for k, v in package.files(manifest, objects).items()}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{folder}/server:{folder}/packages",
        "SETPOINT_SERVE_PORT": str(port),
    }
    # Without site: what is installed here is not to be found.
    words = [sys.executable, "-S", "-m", "setpoint.serve", "--package", str(folder / "model")]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: server.poll() is not None or pinged(url), "it answers /ping")
            assert server.poll() is None, server.communicate()[1]
            client = Inference(url)
            yield client
            client.close()
        finally:
            server.kill()


def asked(version: ModelVersion, objects: ObjectStore) -> Any:
    """Return what a version answers here."""
    rows = {name: np.array(values) for name, values in ROW.items()}
    return load(objects, version).predict(rows)


@pytest.mark.slow
@pytest.mark.parametrize("train", [made.tree, light])
def test_what_is_packed_is_all_that_a_native_model_needs(
    train: Any, house: LocalBackend, objects: ObjectStore, tmp_path: Path
) -> None:
    version = made.registered(house, f"native {train.__name__}", train(), onnx=None)
    with packed(version, objects, tmp_path) as client:
        scores = client.predict(version.model, ROW).scores
    assert scores == asked(version, objects).tolist()


def halved(columns: dict[str, Any]) -> dict[str, Any]:
    return {"gusts": columns["gusts"] / 2}


@pytest.mark.slow
def test_what_is_packed_is_all_that_a_graph_needs(
    house: LocalBackend, objects: ObjectStore, tmp_path: Path
) -> None:
    """Of a graph of one native and one compiled model, and a function."""
    native = made.registered(house, "graph native", light(), onnx=None)
    compiled = made.registered(house, "graph compiled", made.tree())
    graph = Graph(
        nodes={
            "step": Transform(code="s:f", takes={"gusts": "FP64"}, gives={"gusts": "FP64"}),
            "native": Model(model=native.model),
            "compiled": Model(model=compiled.model),
            "both": Ensemble(members=["native", "compiled"]),
            "all": Chain(steps=["step", "both"]),
        },
        answer="all",
    )
    function = objects.put(pickles.dump(halved))
    parts = {
        "step": Part(node="step", function=function, source="s:f"),
        "native": composing.part_of("native", native),
        "compiled": composing.part_of("compiled", compiled),
    }
    held = composing.compose(objects, composing.composed(graph, parts), of="graph")
    version = house.call(register, adding.registration("graph", held))
    with packed(version, objects, tmp_path) as client:
        scores = client.predict("graph", ROW).scores
    assert scores == asked(version, objects)["score"].tolist()
