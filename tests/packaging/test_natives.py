"""Versions served as they were trained: what is packed for them is all that they need."""

import os
import subprocess
import sys
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
from setpoint.models.runtime import load
from setpoint.packaging import dependencies
from setpoint.serve import package
from setpoint.serve.client import Inference

ROW = {"distance": [0.5, -1.5], "gusts": [1.0, 0.25]}


def light() -> Any:
    model = lightgbm.LGBMClassifier(n_estimators=9, n_jobs=1, verbose=-1, random_state=0)
    return model.fit(made.ROWS.to_numpy(), made.LATE)


@pytest.mark.slow
@pytest.mark.parametrize("train", [made.tree, light])
def test_what_is_packed_is_all_that_a_native_model_needs(
    train: Any, house: LocalBackend, objects: ObjectStore, tmp_path: Path
) -> None:
    version = made.registered(house, f"native {train.__name__}", train(), onnx=None)
    manifest = package.manifest_of(version)
    held = [manifest.version]
    need = dependencies.needed(held, {version.artifact: objects.get(version.artifact)})
    files = {f"server/{path}": data for path, data in need.server.items()}
    for name in need.distributions:
        for path, data in dependencies._files(metadata.distribution(name)):
            files[f"packages/{path}"] = data
    files |= {f"model/{k}": v for k, v in package.files(manifest, objects).items()}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{tmp_path}/server:{tmp_path}/packages",
        "SETPOINT_SERVE_PORT": str(port),
    }
    # Without site: what is installed here is not to be found.
    words = [sys.executable, "-S", "-m", "setpoint.serve", "--package", str(tmp_path / "model")]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: server.poll() is not None or pinged(url), "it answers /ping")
            assert server.poll() is None, server.communicate()[1]
            client = Inference(url)
            scores = client.predict(version.model, ROW).scores
            client.close()
        finally:
            server.kill()
    expected = load(objects, version).predict(np.array([*zip(*ROW.values(), strict=True)]))
    assert scores == expected.tolist()
