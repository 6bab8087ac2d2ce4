"""How long an explanation takes, and what predictions notice of explanations being computed.

CPU time of one row against 100 background rows, 30 features, in this process. Then a server
of the same models, asked for predictions one after the other, without and with somebody who asks
for explanations of the forest all the time: the "peer" is the same server left alone.
"""

import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import polars as pl
from bench.served import running, until
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from setpoint.artifacts.files import FileStore
from setpoint.models.build import build
from setpoint.models.entities import ModelVersion, Stored
from setpoint.models.explaining.explainer import explainer
from setpoint.serve import package

NAME = "explaining"
FEATURES, ROWS, TIMES, ASKED = 30, 5_000, 10, 3_000


def run() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=ROWS) > 0).astype(int)
    table = pl.DataFrame(x, schema=[f"x{at}" for at in range(FEATURES)])
    models = {
        "forest, 200 trees of depth 8": RandomForestClassifier(200, max_depth=8, n_jobs=1),
        "forest, 200 trees without limit": RandomForestClassifier(200, n_jobs=1),
        "logistic regression": LogisticRegression(),
        "LightGBM classifier, 200 trees": lightgbm.LGBMClassifier(
            n_estimators=200, num_leaves=15, n_jobs=1, verbose=-1
        ),
    }
    found = []
    with tempfile.TemporaryDirectory() as folder:
        store = FileStore(Path(folder))
        for name, model in models.items():
            stored = build(store, model.fit(x, y), table, rng=np.random.default_rng(1))
            made = explainer(store, stored)
            spent = []
            for row in x[:TIMES]:
                began = time.process_time()
                made.explain(row[None])
                spent.append(time.process_time() - began)
            method = made.explain(x[:1])[0].method
            millis = 1000 * float(np.median(spent))
            found.append(_row(f"{name}: a row explained ({method})", millis, None, "ms CPU"))
            if name.startswith("forest, 200 trees of"):
                found += _beside(store, stored, x[0].tolist())
    return found


def _beside(store: FileStore, stored: Stored, row: list[float]) -> list[dict[str, Any]]:
    """Measure predictions while explanations are computed, and while none are."""
    tensor = {"name": "x", "shape": [1, FEATURES], "datatype": "FP64", "data": row}
    body = json.dumps({"inputs": [tensor]}).encode()
    with tempfile.TemporaryDirectory() as folder, _served(Path(folder), store, stored) as port:
        _latencies(port, body)
        alone = _latencies(port, body)
        stop = threading.Event()
        asking = threading.Thread(target=_explain, args=(port, body, stop))
        asking.start()
        beside = _latencies(port, body)
        stop.set()
        asking.join()
    return [
        _row(
            f"a prediction while others are explained, {word}",
            1e3 * float(np.quantile(beside, share)),
            1e3 * float(np.quantile(alone, share)),
            "ms",
            "none explained",
        )
        for word, share in (("median", 0.5), ("99th percentile", 0.99))
    ]


@contextmanager
def _served(folder: Path, store: FileStore, stored: Stored) -> Iterator[int]:
    fields: dict[str, Any] = msgspec.structs.asdict(stored)
    version = ModelVersion(
        model="m", number=1, run_id="run_1", why="", created_at=datetime.now(UTC), **fields
    )
    for path, data in package.files(package.manifest_of(version), store).items():
        file = folder / "package" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    words = [sys.executable, "-m", "setpoint.serve", "--package", str(folder / "package")]
    with running([*words, "--host", "127.0.0.1", "--port", str(port)], folder) as process:
        until(lambda: _answers(port), process)
        yield port


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _latencies(port: int, body: bytes) -> list[float]:
    """Return the seconds that each of many predictions took, one after the other."""
    connection = HTTPConnection("127.0.0.1", port)
    found = []
    for _ in range(ASKED):
        began = time.perf_counter()
        connection.request("POST", "/v2/models/m/infer", body)
        answer = connection.getresponse()
        answer.read()
        found.append(time.perf_counter() - began)
        assert answer.status == 200
    connection.close()
    return found


def _explain(port: int, body: bytes, stop: threading.Event) -> None:
    connection = HTTPConnection("127.0.0.1", port)
    while not stop.is_set():
        connection.request("POST", "/v2/models/m/explain", body)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def _row(
    work: str, ours: float, alone: float | None, unit: str, peer: str | None = None
) -> dict[str, Any]:
    return {
        "work": work,
        "ours": round(ours, 2),
        "peer": None if alone is None else round(alone, 2),
        "peer_version": peer,
        "ratio": None if alone is None else round(alone / ours, 2),
        "unit": unit,
    }
