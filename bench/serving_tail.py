"""How long one waits at half of what a server can answer: left alone, and while models come.

Requests leave by the clock (`bench.steady`). The same again while another model is loaded into the
server and taken down every second, the first time with the import of its library; and while
a second endpoint is swapped from one version to the other every second. A fresh server each.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import lightgbm
import msgspec
import numpy as np
from bench.load import drive
from bench.served import Bar, Store, answers, body, data, row, stored
from bench.steady import Waits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from setpoint.models.entities import Stored
from setpoint.models.flavors.registry import flavor

NAME = "serving_tail"
ROUNDS = 3
SECONDS = 6.0
P99_MS, LONGEST_MS = 3.0, 10.0
_PATH = "/v2/models/m/infer"
_ROOT = Path(__file__).parents[1]
Meanwhile = Callable[["Other", threading.Event], None]


@dataclass(frozen=True)
class Other:
    """Another endpoint of the server that is asked."""

    held: Store
    port: int

    def answers(self, model: str) -> bool:
        return answers(f"http://127.0.0.1:{self.port}/v2/models/{model}/infer", body())

    def turn(self, model: str, versions: Sequence[int | None], stop: threading.Event) -> None:
        """Deploy one after the other, one a second, each once the one before answers."""
        at = 0
        while not stop.wait(1.0):
            version = versions[at % len(versions)]
            self.held.deploy(model, version)
            while not stop.wait(0.05) and self.answers(model) is (version is None):
                pass
            at += 1


_WORKS: dict[str, tuple[Meanwhile | None, float | None]] = {
    "alone": (None, None),
    "while a forest of 200 trees is loaded": (
        lambda other, stop: other.turn("forest", (1, None), stop),
        None,
    ),
    "while a compiled LightGBM of 500 trees is loaded": (
        lambda other, stop: other.turn("boosted", (1, None), stop),
        None,
    ),
    "while another endpoint is swapped": (
        lambda other, stop: other.turn("swapped", (1, 2), stop),
        LONGEST_MS,
    ),
}


def run(works: Sequence[str] = tuple(_WORKS)) -> list[dict[str, Any]]:
    found: dict[str, list[Waits]] = {work: [] for work in works}
    with tempfile.TemporaryDirectory() as folder:
        held = Store(Path(folder))
        megabytes = _models(held)
        with held.serving() as (pid, port):
            asked = {"connections": 64, "seconds": 2.0}
            rate = drive(pid, port, _PATH, body(), **asked).per_second / 2  # type: ignore[arg-type]
        for _ in range(ROUNDS):
            for work in works:
                found[work].append(_waits(held, _WORKS[work][0], rate))
        held.close()
    alone = _middle(found.get("alone", []))
    rows = []
    for work, waits in found.items():
        p50, p99 = _middle(waits)
        longest, paused = max(each.longest_ms for each in waits), max(w.paused_ms for w in waits)
        most = _WORKS[work][1]
        named = f"{work} ({megabytes:.0f} MB)" if "forest" in work else work
        at = f"{rate:,.0f} requests/s, {named}"
        beside = None if work == "alone" else "alone"
        peers: tuple[float | None, float | None] = (None, None) if work == "alone" else alone
        rows += [
            row(f"{at}: median", p50, "ms", peer=peers[0], beside=beside),
            row(f"{at}: 99th percentile", p99, "ms", peer=peers[1], beside=beside, bar=Bar(P99_MS)),
            row(f"{at}: longest of all", longest, "ms", bar=Bar(most) if most else None),
            row(f"{at}: longest pause of the client", paused, "ms"),
        ]
    return rows


def _middle(waits: Sequence[Waits]) -> tuple[float, float]:
    """Return the median of the rounds' medians, and of their 99th percentiles."""
    if not waits:
        return float("nan"), float("nan")
    return median(each.p50_ms for each in waits), median(each.p99_ms for each in waits)


def _models(held: Store) -> float:
    """Register them all; return how large the forest is in MB."""
    x, y = data(10_000)
    noisy = np.where(np.random.default_rng(2).random(len(y)) < 0.3, 1 - y, y)
    forest = RandomForestClassifier(200, n_jobs=2, random_state=0).fit(x, noisy)
    forest.n_jobs = 1
    boosted = lightgbm.LGBMClassifier(n_estimators=500, n_jobs=1, verbose=-1).fit(x, noisy)
    plain = stored(held.objects, LogisticRegression().fit(x, y), x)
    held.register("m", plain)
    held.deploy("m")
    native = flavor("sklearn").save(forest)
    held.register("forest", _native(plain, held.objects.put(native)))
    what = stored(held.objects, boosted, x)
    held.register("boosted", what)
    held.register("swapped", what)
    held.register("swapped", plain)
    return len(native) / 1e6


def _native(like: Stored, artifact: str) -> Stored:
    """Return a model of scikit-learn with the inputs of `like`, not compiled."""
    return msgspec.structs.replace(like, flavor="sklearn", artifact=artifact, onnx=None)


def _waits(held: Store, meanwhile: Meanwhile | None, rate: float) -> Waits:
    with held.serving() as (pid, port):
        drive(pid, port, _PATH, body(), connections=16, seconds=0.5)
        with _going_on(meanwhile, Other(held, port)):
            words = [sys.executable, "-m", "bench.steady", str(port), _PATH, str(rate)]
            done = subprocess.run(
                [*words, str(SECONDS)], input=body(), capture_output=True, check=False, cwd=_ROOT
            )
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr.decode()[-1000:]}")
    for model in ("forest", "boosted", "swapped"):
        held.deploy(model, None)
    return Waits(**json.loads(done.stdout))


@contextmanager
def _going_on(meanwhile: Meanwhile | None, other: Other) -> Iterator[None]:
    if meanwhile is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=meanwhile, args=(other, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
