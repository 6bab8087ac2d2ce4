"""Servers to measure: ours on a store or a package, others as processes; and what they take."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import polars as pl
from bench.load import Load, descendants
from numpy.typing import NDArray

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.models.build import build
from setpoint.models.entities import ModelVersion, Stored
from setpoint.models.service import Register, register
from setpoint.serve import package, store
from setpoint.serve.entities import Deployment, Role

FEATURES = 30
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
Floats = NDArray[np.float64]
T = TypeVar("T")


def data(rows: int = 2_000) -> tuple[Floats, NDArray[np.int64]]:
    """Return what the models are trained on: numbers, and the class of each row."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, FEATURES))
    return x, (x @ rng.normal(size=FEATURES) > 0).astype(int)


def body(rows: int = 1) -> bytes:
    """Return an infer request of that many rows in JSON."""
    values = np.random.default_rng(7).normal(size=rows * FEATURES).round(6).tolist()
    tensor = {"name": "x", "shape": [rows, FEATURES], "datatype": "FP64", "data": values}
    return json.dumps({"inputs": [tensor]}).encode()


def stored(objects: ObjectStore, model: Any, x: Floats, *, compiled: bool = True) -> Stored:
    """Store a trained model; as its library's own, with nothing compiled, if asked for."""
    table = pl.DataFrame(x, schema=[f"x{i}" for i in range(FEATURES)])
    found = build(objects, model, table, rng=np.random.default_rng(1))
    if not compiled:
        return msgspec.structs.replace(found, onnx=None)
    assert found.onnx is not None, found.parity
    return found


class Store:
    """A store in a folder, with models in its registry, as a project's own."""

    def __init__(self, home: Path) -> None:
        self.settings = settings(home)
        self.home = home
        self.backend = open_local(self.settings)
        self.objects = open_store(self.settings)

    def register(self, model: str, what: Stored) -> None:
        command = Register(
            model=model,
            run_id=f"run_{time.monotonic_ns()}",
            why="bench",
            flavor=what.flavor,
            artifact=what.artifact,
            onnx=what.onnx,
            signature=what.signature,
        )
        self.backend.call(register, command)

    def deploy(self, model: str, version: int | None = 1) -> None:
        """Have a version answer alone; none takes the endpoint down."""
        wanted = []
        if version is not None:
            wanted = [Deployment(model=model, version=version, role=Role.LIVE, weight=1.0)]
        self.deploy_exactly(model, wanted)

    def deploy_exactly(self, model: str, wanted: Sequence[Deployment]) -> None:
        with self.backend.engine.begin() as conn:
            store.deploy(conn, model, wanted)

    def close(self) -> None:
        self.backend.engine.dispose()

    @contextmanager
    def serving(self) -> Iterator[tuple[int, int]]:
        """Serve what is deployed; the values are the process and its port."""
        command = [sys.executable, "-m", "setpoint.serve", "--home", str(self.home), "--port", "0"]
        ready = self.home / "run" / "inference.json"
        with running(command, self.home) as process:
            until(ready.exists, process)
            yield process.pid, json.loads(ready.read_text())["port"]


def write_package(folder: Path, objects: ObjectStore, what: Stored) -> None:
    """Write what serves a version with no store, for the endpoint ``m``."""
    fields: dict[str, Any] = msgspec.structs.asdict(what)
    version = ModelVersion(
        model="m", number=1, run_id="run_1", why="", created_at=datetime.now(UTC), **fields
    )
    for path, content in package.files(package.manifest_of(version), objects).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@contextmanager
def running(
    command: list[str], folder: Path, more: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server of one thread in `folder`, its words in ``bench.log`` there."""
    environment = {**os.environ, **_ONE_THREAD, **(more or {})}  # noqa: TID251
    with (
        (folder / "bench.log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            started = descendants(process.pid)
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
            for pid in started:  # some servers leave their workers behind
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def until(
    ready: Callable[[], bool], process: "subprocess.Popen[bytes]", seconds: float = 60
) -> None:
    """Wait until a server is ready.

    Raises:
        RuntimeError: If it ends before, or is not ready in time.
    """
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("a server did not start: see its bench.log")
        time.sleep(0.02)


def answers(url: str, data: bytes | None = None) -> bool:
    """Tell whether a server answers with 200."""
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        urllib.request.urlopen(asked, timeout=5).close()  # noqa: S310
    except (urllib.error.URLError, OSError):
        return False
    return True


def in_turn(ask: Callable[[T], Load], one: T, two: T, rounds: int = 3) -> tuple[Load, Load]:
    """Ask both in turn, so that what else the machine does is unfair to neither.

    Of each, the round with the median CPU time counts.
    """
    found: tuple[list[Load], list[Load]] = ([], [])
    for _ in range(rounds):
        for at, loads in zip((one, two), found, strict=True):
            loads.append(ask(at))
    first, second = (sorted(loads, key=lambda load: load.cpu_micros) for loads in found)
    return first[rounds // 2], second[rounds // 2]


def own_memory_mb(pid: int, kind: str = "Pss") -> float:
    """Return the memory a process and its descendants take.

    Args:
        pid: The process.
        kind: ``Pss``: what is shared is shared out, also with this process, which has the same
            libraries; ``Rss``: counted whole, as it is where nothing else runs.
    """
    total = 0
    for one in (pid, *descendants(pid)):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                total += int(line.split()[1])
    return total / 1024


@dataclass(frozen=True)
class Bar:
    """What was set out to be reached: at most so much, ``>=``: at least, ``x``: a ratio."""

    value: float
    kind: str = "<="

    def __str__(self) -> str:
        return f">= {self.value:g}x" if self.kind == "x" else f"{self.kind} {self.value:g}"

    def met(self, ours: float, ratio: float | None) -> bool:
        if self.kind == "x":
            return ratio is not None and ratio >= self.value
        return ours >= self.value if self.kind == ">=" else ours <= self.value


def row(
    work: str,
    ours: float,
    unit: str,
    *,
    peer: float | None = None,
    beside: str | None = None,
    bar: Bar | None = None,
) -> dict[str, Any]:
    """Return a row of results. Of requests/s more is better, of everything else less."""
    ratio = None
    if peer is not None:
        ratio = round(ours / peer if unit == "requests/s" else peer / ours, 2)
    return {
        "work": work,
        "ours": round(ours, 2),
        "peer": None if peer is None else round(peer, 2),
        "peer_version": beside,
        "ratio": ratio,
        "unit": unit,
        "bar": None if bar is None else str(bar),
        "met": None if bar is None else bar.met(ours, ratio),
    }
