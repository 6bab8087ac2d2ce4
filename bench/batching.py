"""A random forest served as it is, with requests that share a call and without.

The same server twice, once held to one request a call. Both take the model's calls beside the
event loop. The forest has 100 trees; a row of it alone costs scikit-learn milliseconds.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench.load import Load, drive
from bench.served import running, until

from setpoint.config import settings
from setpoint.db.local import open_local
from setpoint.serve import store
from setpoint.serve.entities import Deployment, EndpointSettings, Role

NAME = "batching"
FEATURES = 10
SECONDS = 5.0

_SERVES = """
import sys
import numpy as np
from msgspec import Struct
from sklearn.ensemble import RandomForestClassifier
from setpoint.config import settings
from setpoint.serve.main import run

home, features = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
x = rng.normal(size=(2_000, features))
forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(x, x[:, 0] + x[:, 1] > 0)


class Input(Struct, frozen=True):
    name: str
    datatype: str = "FP64"


class Forest:
    inputs = [Input(f"x{i}") for i in range(features)]

    def predict(self, rows):
        return forest.predict_proba(rows)[:, 1]


run(settings(home), port=0, load=lambda model, version: Forest())
"""


def run() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    row = rng.normal(size=FEATURES).round(6).tolist()
    tensor = {"name": "x", "shape": [1, FEATURES], "datatype": "FP64", "data": row}
    body = json.dumps({"inputs": [tensor]}).encode()
    found: dict[tuple[bool, int], Load] = {}
    for shared in (True, False):
        with tempfile.TemporaryDirectory() as folder, _serving(Path(folder), shared=shared) as at:
            for connections in (1, 64):
                _ask(at, body, connections, 1.0)  # it learns that its model is slow
                found[shared, connections] = _ask(at, body, connections, SECONDS)
    rows = []
    for connections in (1, 64):
        ours, alone = found[True, connections], found[False, connections]
        work = f"forest, {connections} in flight"
        rows += [
            _row(f"{work}, answered", ours.per_second, alone.per_second, "requests/s"),
            _row(f"{work}, CPU", ours.cpu_micros, alone.cpu_micros, "us/request"),
        ]
    return rows


def _ask(at: tuple[int, int], body: bytes, connections: int, seconds: float) -> Load:
    return drive(*at, "/v2/models/m/infer", body, connections=connections, seconds=seconds)


@contextmanager
def _serving(home: Path, *, shared: bool) -> Iterator[tuple[int, int]]:
    backend = open_local(settings(home / "store"))
    live = Deployment(model="m", version=1, role=Role.LIVE, weight=1.0)
    with backend.engine.begin() as conn:
        store.configure(conn, "m", EndpointSettings(batch_rows=4_096 if shared else 1))
        store.deploy(conn, "m", [live])
    backend.engine.dispose()
    words = [sys.executable, "-c", _SERVES, str(home / "store"), str(FEATURES)]
    with running(words, home) as process:
        ready = home / "store" / "run" / "inference.json"
        until(ready.exists, process)
        yield process.pid, json.loads(ready.read_text())["port"]


def _row(work: str, ours: float, alone: float, unit: str) -> dict[str, Any]:
    return {
        "work": work,
        "ours": round(ours, 1),
        "peer": round(alone, 1),
        "peer_version": "one request a call",
        "ratio": round(ours / alone if unit == "requests/s" else alone / ours, 2),
        "unit": unit,
    }
