"""Clients of inference servers, unchanged, against a server of ours."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.compat.conftest import client, stories
from tests.compat.environments import ROOT, needed

HERE = Path(__file__).parent
SCRIPTS = {
    "inference": HERE / "inference_journeys.py",
    "mlflow": HERE / "mlflow_scoring_journeys.py",
}


def _stories(of: str) -> list[str]:
    return re.findall(r"^@journey\ndef (\w+)\(", SCRIPTS[of].read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an inference server in a process of its own."""
    home = tmp_path_factory.mktemp("inference")
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.compat.inference_server", str(home)],
        env={**os.environ, "PYTHONPATH": path},
    ) as server:
        ready = home / "run" / "inference.json"
        try:
            until = time.monotonic() + 60
            while not ready.exists() and server.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{json.loads(ready.read_text())['port']}"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def told(url: str, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    needed(request.param)
    return stories(client(request.param, SCRIPTS[request.param], url))


@pytest.mark.parametrize(
    ("told", "name"),
    [(of, name) for of in SCRIPTS for name in _stories(of)],
    indirect=["told"],
)
def test_the_real_client_gets_through(told: dict[str, dict[str, Any]], name: str) -> None:
    assert not told[name]["error"], told[name]["error"]
