"""Inference servers as processes, with models made by hand."""

import argparse
import ctypes
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

from setpoint.config import Serving, Settings, serving, settings
from setpoint.core.lifetime import end_with_parent
from setpoint.db.local import LocalBackend
from setpoint.serve import several, store
from setpoint.serve.entities import Deployment, EndpointSettings, Role
from setpoint.serve.listening import How, Worker
from setpoint.serve.main import run

from .made import Sum, live

ROOT = Path(__file__).parents[2]


class Sleeps(Sum):
    """Takes as many seconds for a call as its first row's first input says."""

    def predict(self, rows: Any) -> Any:
        time.sleep(min(float(np.abs(rows[0, 0])), 60.0))
        return super().predict(rows)


def deploy_two(backend: LocalBackend) -> None:
    """Put a fast model ``m`` and a slow one, ``sleeps``, before traffic."""
    slow = Deployment(model="sleeps", version=1, role=Role.LIVE, weight=1.0)
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
        store.deploy(conn, "sleeps", [slow])
        store.configure(conn, "sleeps", EndpointSettings(timeout=30.0))


class Fragile(Sum):
    """Ends its process, hangs or takes memory, as the first input says; else as a sum."""

    def predict(self, rows: Any) -> Any:
        what = 0 if isinstance(rows, dict) else int(rows[0, 0])
        if what == EXITS:
            os._exit(3)
        if what == CRASHES:
            ctypes.string_at(0)
        if what == HANGS:
            time.sleep(3600)
        if what == GROWS:
            return np.ones(10**10)[: len(rows)]
        if what == RAISES:
            raise ZeroDivisionError("no luck")
        return super().predict(rows)

    def pid(self) -> int:
        return os.getpid()


EXITS, CRASHES, HANGS, GROWS, RAISES = range(101, 106)


def load(model: str, version: int) -> Any:
    """Load ``sleeps…`` as a model that takes its time, ``fragile…`` as one, others as a sum."""
    if model.startswith("fragile"):
        return Fragile(version)
    return Sleeps(version) if model.startswith("sleeps") else Sum(version)


@contextmanager
def process(settings: Settings, **options: float) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Start a server of such models on a free port, and wait until it says it is ready."""
    ready = settings.home / "run" / "inference.json"
    ready.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.serve.processes", str(settings.home), *words],
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


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home")
    for option, kind in (("grpc-port", int), ("drain", float), ("workers", int), ("fd", int)):
        parser.add_argument(f"--{option}", type=kind)
    for option in ("worker", "siblings"):
        parser.add_argument(f"--{option}")
    parser.add_argument("--with-parent", type=int)
    asked = parser.parse_args()
    where = settings(asked.home)
    drain = serving(drain=asked.drain).drain
    if asked.with_parent:
        end_with_parent(asked.with_parent)
    if asked.workers and asked.worker is None:
        words = [sys.executable, "-m", "tests.serve.processes", *sys.argv[1:]]
        several.run(words, where, Serving(port=0, workers=asked.workers, drain=drain), "warning", 5)
        return
    worker = None
    if asked.worker is not None:
        worker = Worker(name=asked.worker, file=asked.fd, folder=Path(asked.siblings))
    from tests.serve import processes  # noqa: PLC0415 - by the name that others import it by

    patience = serving().client_seconds
    how = How(
        grpc_port=asked.grpc_port,
        drain=drain,
        client_seconds=patience,
        worker=worker,
        async_output=serving().async_output,
    )
    run(where, port=0, load=processes.load, how=how)


if __name__ == "__main__":
    _main()
