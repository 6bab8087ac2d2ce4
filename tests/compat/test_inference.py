"""Clients of inference servers, unchanged, against a server of ours."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.compat import matrix
from tests.compat.conftest import client, stories
from tests.compat.environments import ROOT, needed
from tests.ports import free_port
from tests.s3_server import S3Server

HERE = Path(__file__).parent
#: Each with the environment it runs in.
SCRIPTS = {
    "inference_journeys.py": "inference",
    "triton_grpc_journeys.py": "inference",
    "mlflow_scoring_journeys.py": "mlflow",
    "tensorflow_journeys.py": "tensorflow",
}


#: Whose stories begin with a word, and what they speak.
CLIENTS = {
    "triton": ("Triton, HTTP", "/v2"),
    "grpc": ("Triton, gRPC", "inference.GRPCInferenceService"),
    "kserve": ("KServe", "/v1 and /v2"),
    "sagemaker": ("SageMaker runtime, boto3", "/endpoints/MODEL"),
    "cloudevents": ("CloudEvents", "/v1/models/MODEL:predict"),
    "scoring": ("MLflow scoring", "/invocations"),
    "tensorflow": ("TensorFlow Serving, gRPC", "tensorflow.serving.PredictionService"),
}


class Served(NamedTuple):
    url: str
    grpc: str  #: host and port
    bucket: str  #: in JSON: its name, and how boto3 reaches it


def _stories(of: str) -> list[str]:
    return re.findall(r"^@journey\ndef (\w+)\(", (HERE / of).read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Iterator[Served]:
    """An inference server in a process of its own, with a bucket."""
    bucket = s3.make()
    key, secret = s3.aws.access_key_id or "", s3.aws.secret_access_key or ""
    reached = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    reached |= {"endpoint_url": s3.endpoint, "bucket": bucket.removeprefix("s3://")}
    home = tmp_path_factory.mktemp("inference")
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.compat.inference_server", str(home), str(port)],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "SETPOINT_SERVE_ASYNC_OUTPUT": f"{bucket}/answers",
            "AWS_ENDPOINT_URL": s3.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
        },
    ) as server:
        ready = home / "run" / "inference.json"
        try:
            until = time.monotonic() + 60
            while not ready.exists() and server.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            url = f"http://127.0.0.1:{json.loads(ready.read_text())['port']}"
            yield Served(url, f"127.0.0.1:{port}", json.dumps(reached))
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def told(served: Served, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    environment = SCRIPTS[request.param]
    needed(environment)
    found = stories(client(environment, HERE / request.param, *served))
    _publish(found)
    return found


def _publish(told: dict[str, dict[str, Any]]) -> None:
    """Keep what the stories of each client came to."""
    for word, (name, where) in CLIENTS.items():
        rows = [
            {
                "version": line["version"],
                "call": story.removeprefix(f"{word}_").replace("_", " "),
                "where": where,
                "answered": True,
                "passed": not line["error"],
            }
            for story, line in told.items()
            if story.startswith(f"{word}_")
        ]
        if rows:
            matrix.keep(name, rows)


@pytest.mark.parametrize(
    ("told", "name"),
    [(of, name) for of in SCRIPTS for name in _stories(of)],
    indirect=["told"],
)
def test_the_real_client_gets_through(told: dict[str, dict[str, Any]], name: str) -> None:
    assert not told[name]["error"], told[name]["error"]
