"""A loop that runs for real: a store, an inference server as a process, a controller."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.conftest import NOON
from tests.control import made
from tests.control.made import MODEL

from setpoint.config import environment
from setpoint.control import store
from setpoint.control.controller import Controller, Tick
from setpoint.control.observe import observe
from setpoint.control.service import ListStatus, Status, ls
from setpoint.core.clock import FileClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.releases import store as releases
from setpoint.releases.entities import Release
from setpoint.serve.client import Inference

SOURCES = Path(__file__).parents[2] / "src"


@contextmanager
def serving(home: LocalBackend) -> Iterator[str]:
    """Run an inference server on a free port; give its address."""
    ready = home.settings.home / "run" / "inference.json"
    command = [sys.executable, "-m", "setpoint.serve", "--home", str(home.settings.home)]
    surroundings = environment(home.settings) | {"PYTHONPATH": str(SOURCES)}
    with subprocess.Popen([*command, "--port", "0"], env=surroundings) as server:
        try:
            until = time.monotonic() + 30
            while not ready.exists() and server.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{msgspec.json.decode(ready.read_bytes())['port']}"
        finally:
            server.terminate()
            server.wait(20)


class Loop:
    """One model in its folder: what people change, what is asked, and the ticks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = made.home_at(folder / "home")
        settings.home.mkdir(parents=True)
        self.clock = FileClock(settings.home / "clock", start=NOON)
        self.home = open_local(settings, self.clock)
        self.rng = np.random.default_rng(3)
        self.asked = 0

    def serve(self, address: str) -> None:
        self.client = Inference(address)
        self.controller = Controller(self.home, inference=address)

    def close(self) -> None:
        self.controller.close()
        self.client.close()

    def apply(self, **changed: object) -> None:
        made.apply(self.home, self.folder / "project", **changed)  # type: ignore[arg-type]

    def tick(self) -> Tick:
        return self.controller.tick()

    def traffic(self, requests: int, *, rows: int = 4) -> set[int]:
        """Ask, tell the truth at once, tick; return the versions that answered."""
        versions: set[int] = set()
        for _ in range(requests):
            self.clock.set(self.clock.now() + timedelta(seconds=5))
            a, b = self.rng.normal(size=(2, rows))
            truth = self.rng.random(rows) < 1 / (1 + np.exp(-2 * a + b))
            ids = [f"p{self.asked + i}" for i in range(rows)]
            self.asked += rows
            answer = self.client.predict(MODEL, {"a": a.tolist(), "b": b.tolist()}, ids=ids)
            versions |= set(answer.versions)
            self.client.label(MODEL, ids, truth.astype(float).tolist())
        self.client.sync()
        self.tick()
        return versions

    def status(self) -> Status:
        return self.home.call(ls, ListStatus(model=MODEL)).models[0]

    def release(self) -> Release:
        with self.home.engine.begin() as conn:
            return releases.ls(conn, MODEL, limit=1)[0]

    def candidate(self) -> int | None:
        with self.home.engine.begin() as conn:
            return observe(self.home.context(conn), store.need(conn, MODEL)).candidate


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[[], Loop]]:
    """Return what starts a loop whose model's first version is live."""
    with ExitStack() as stack:

        def start() -> Loop:
            found = Loop(tmp_path)
            stack.callback(found.home.engine.dispose)
            found.apply()
            found.serve(stack.enter_context(serving(found.home)))
            stack.callback(found.close)
            found.tick()
            return found

        yield start
