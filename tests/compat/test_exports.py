"""Exported versions, in the hands of those they are for: boto3 against moto, KServe's client."""

import json
import os
import platform
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.cli.running import answers, until
from tests.compat.environments import needed
from tests.packaging import made
from tests.ports import free_port
from tests.stores import Files

from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.models.runtime import load
from setpoint.packaging.exports import Wanted, export
from setpoint.packaging.traffic import alone, traffic_of
from setpoint.serve.entities import Deployment, Role

HERE = Path(__file__).parent
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/late"


@pytest.fixture
def house(tmp_path: Path, file_stores: Files) -> LocalBackend:
    home = tmp_path / "home"
    settings = Settings(home=home, database_url=file_stores.empty(home), actor="ada")
    return open_local(settings, ManualClock(made.NOON))


def told(client: str, script: str, *words: str) -> Any:
    python = needed(client)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "AWS_"))}
    done = subprocess.run(
        [python, HERE / script, *words],
        env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def calls(house: LocalBackend, folder: Path, other: Deployment) -> Any:
    """Return what SageMaker came to by the calls for a live version and another one."""
    versions = {
        number: made.registered(house, other.model, made.tree(), run_id=f"run {number}")
        for number in (1, 2)
    }
    live = Deployment(model=other.model, version=1, role=Role.LIVE, weight=1.0)
    traffic = traffic_of(versions[1], [live, other], versions.__getitem__)
    wanted = Wanted(image=IMAGE, role="arn:aws:iam::123456789012:role/serving")
    export("sagemaker", traffic, open_store(house.settings), folder, wanted)
    return told("aws", "aws_journeys.py", str(folder))


def test_sagemaker_takes_the_calls_of_a_release(house: LocalBackend, tmp_path: Path) -> None:
    canary = Deployment(model="Late flights", version=2, role=Role.CANARY, weight=0.25)
    said = calls(house, tmp_path / "calls", canary)
    creating = ["create_model", "create_model", "create_endpoint_config", "create_endpoint"]
    assert said["calls"] == [*creating, "update_endpoint_weights_and_capacities"]
    assert said["weights"] == {"late-flights-v1": 0.75, "late-flights-v2": 0.25}
    assert said["images"] == [f"{IMAGE}:1", f"{IMAGE}:2"]


def test_sagemaker_takes_a_shadow(house: LocalBackend, tmp_path: Path) -> None:
    shadow = Deployment(model="Late flights", version=2, role=Role.SHADOW, weight=0.0)
    said = calls(house, tmp_path / "calls", shadow)
    assert said["weights"] == {"late-flights-v1": 1.0}


@pytest.fixture
def services(house: LocalBackend, tmp_path: Path) -> Path:
    """What KServe is told of a live version and a canary: a folder."""
    versions = {
        number: made.registered(house, "Late flights", made.tree(), run_id=f"run {number}")
        for number in (1, 2)
    }
    now = [
        Deployment(model="Late flights", version=1, role=Role.LIVE, weight=1.0),
        Deployment(model="Late flights", version=2, role=Role.CANARY, weight=0.25),
    ]
    traffic = traffic_of(versions[1], now, versions.__getitem__)
    export("kserve", traffic, open_store(house.settings), tmp_path / "kserve", Wanted(image=IMAGE))
    return tmp_path / "kserve"


def test_kserve_knows_every_field_of_its_manifests(services: Path) -> None:
    names = {path.name for path in services.iterdir()}
    assert names == {"inferenceservice.yaml", "inferenceservice-canary.yaml"}
    assert told("inference", "kserve_export_journeys.py", str(services)) == []


def test_what_kserve_does_not_know_is_found(services: Path) -> None:
    canary = services / "inferenceservice-canary.yaml"
    document = yaml.safe_load(canary.read_text())
    predictor = document["spec"]["predictor"]
    predictor["canaryTrafficPercentage"] = predictor.pop("canaryTrafficPercent")
    predictor["minReplicas"] = "1"
    (container,) = predictor["containers"]
    container["readinessProbe"]["httpGet"]["uri"] = "/v2/health/ready"
    del container["name"]
    canary.write_text(yaml.safe_dump(document))
    said = told("inference", "kserve_export_journeys.py", str(services))
    where = "inferenceservice-canary.yaml.spec.predictor"
    assert sorted(said) == [
        f"{where}.canaryTrafficPercentage is no field of V1beta1PredictorSpec",
        f"{where}.containers[0].name: Field required",
        f"{where}.containers[0].readinessProbe.httpGet.uri: Extra inputs are not permitted",
        f"{where}.minReplicas is no int: '1'",
    ]


def test_mlflow_loads_a_folder_and_scores_as_the_version_does(
    house: LocalBackend, tmp_path: Path
) -> None:
    version = made.registered(house, "late", made.tree())
    store = open_store(house.settings)
    export("mlflow", alone(version), store, tmp_path / "late", Wanted())
    rows = {"distance": [0.5, -1.5, 2.0], "gusts": [1.0, 0.25, -3.0]}
    said = told("mlflow", "mlflow_export_journeys.py", str(tmp_path / "late"), json.dumps(rows))
    matrix = np.array([*zip(*rows.values(), strict=True)])
    assert said["warned"] == []
    assert said["environment"]["python"] == platform.python_version()
    assert said["scores"] == load(store, version).predict(matrix).tolist()


def test_bentoml_serves_a_folder(house: LocalBackend, tmp_path: Path) -> None:
    python = needed("bentoml")
    version = made.registered(house, "late", made.tree())
    store = open_store(house.settings)
    export("bentoml", alone(version), store, tmp_path / "late", Wanted())
    port = free_port()
    words = ["-m", "bentoml", "serve", "service:Model", "--host", "127.0.0.1", "--port", str(port)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"BENTOML_HOME": str(tmp_path / "bentos"), "BENTOML_DO_NOT_TRACK": "True"}
    url = f"http://127.0.0.1:{port}"
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [python, *words], cwd=tmp_path / "late", env=environment, stdout=log, stderr=log
        ) as server,
    ):
        try:
            until(lambda: server.poll() is not None or answers(f"{url}/readyz"), "it is ready", 90)
            assert server.poll() is None, (tmp_path / "log").read_text()
            rows = [{"distance": 0.5, "gusts": 1.0}, {"distance": -1.5, "gusts": 0.25}]
            request = urllib.request.Request(  # noqa: S310
                f"{url}/predict",
                data=json.dumps({"rows": rows}).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                said = json.loads(answer.read())
            request.data = json.dumps({"rows": [{"distance": 0.5}]}).encode()
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=30)  # noqa: S310
            assert refused.value.code == 400
            assert b"columns are missing: gusts" in refused.value.read()
        finally:
            server.terminate()
    matrix = np.array([[0.5, 1.0], [-1.5, 0.25]])
    assert said == load(store, version).predict(matrix).tolist()
