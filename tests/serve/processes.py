"""Inference servers as processes, with models made by hand."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.config import Settings, settings
from setpoint.serve.main import How, run

from .made import Sum

ROOT = Path(__file__).parents[2]


class Sleeps(Sum):
    """Takes as many seconds for a call as its first row's first input says."""

    def predict(self, rows: Any) -> Any:
        time.sleep(min(float(np.abs(rows[0, 0])), 60.0))
        return super().predict(rows)


def load(model: str, version: int) -> Any:
    """Load ``sleeps…`` as a model that takes its time, any other as a sum."""
    return Sleeps(version) if model.startswith("sleeps") else Sum(version)


@contextmanager
def process(
    settings: Settings, how: How | None = None
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Start a server of such models on a free port, and wait until it says it is ready."""
    ready = settings.home / "run" / "inference.json"
    ready.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    asked = [] if how is None else [repr(how)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.serve.processes", str(settings.home), *asked],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            until = time.monotonic() + 20
            while not ready.exists() and server.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            assert ready.exists(), server.stderr and server.stderr.read()
            said = json.loads(ready.read_text())
            assert said["pid"] == server.pid
            yield server, said["port"]
        finally:
            server.kill()


if __name__ == "__main__":
    asked = How() if len(sys.argv) < 3 else eval(sys.argv[2])  # noqa: S307 - what we wrote
    run(settings(sys.argv[1]), port=0, load=load, how=asked)
