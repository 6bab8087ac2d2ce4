"""V2 inference beside MLServer: logistic regression, 30 features, one row, one worker.

Ours logs every prediction, routes and counts, as in use; the peer counts, and neither logs
requests. Client and server share the machine, so CPU time of the server is what compares;
requests per second are told beside it.
"""

import json
import subprocess
import tempfile
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench.load import Load, drive, free_port, peak_memory_mb
from bench.served import Store, answers, in_turn, running, stored, until
from sklearn.linear_model import LogisticRegression

from setpoint.serve.entities import Deployment, Role

NAME = "serving"
FEATURES = 30
VERSION = "1.7.1"
SECONDS = 2.0
ROUNDS = 3
CONNECTIONS = (1, 16, 64)
Asked = tuple[int, int, bytes]  # process, port, body
_PEER = Path(__file__).parent / ".peers" / "mlserver"

# Runs in the peer's environment, so that its scikit-learn pickles the model it will load.
_TRAIN = """
import sys, joblib, numpy as np
from sklearn.linear_model import LogisticRegression
data = np.load(sys.argv[1])
joblib.dump(LogisticRegression().fit(data["x"], data["y"]), sys.argv[2])
"""


def run() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, FEATURES))
    y = (x @ rng.normal(size=FEATURES) > 0).astype(int)
    row = rng.normal(size=FEATURES).round(6).tolist()
    tensor = {"name": "x", "shape": [1, FEATURES], "datatype": "FP64", "data": row}
    body = json.dumps({"inputs": [tensor]}).encode()
    asked = {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        np.savez(home / "data.npz", x=x, y=y)
        with _ours(home / "store", x, y) as (server, port, deploy), _peer(home) as (other, there):
            one = (server, port, body)
            two = (other, there, json.dumps(asked).encode())
            ours, peer = {}, {}
            for c in CONNECTIONS:
                ours[c], peer[c] = _in_turn(one, two, c)
            memory = {"ours": peak_memory_mb(server), "peer": peak_memory_mb(other)}
            deploy()
            releasing = {c: _in_turn(one, two, c)[0] for c in CONNECTIONS[1:2]}
    return [
        *(_cpu(f"V2 inference, {c} in flight", ours[c], peer[c]) for c in CONNECTIONS),
        *(_rate(f"V2 inference, {c} in flight", ours[c], peer[c]) for c in CONNECTIONS),
        *(
            _cpu(f"the same during a release, {c} in flight", releasing[c], peer[c])
            for c in releasing
        ),
        _row("memory of the server", memory["ours"], memory["peer"], "MB"),
    ]


def _in_turn(one: Asked, two: Asked, connections: int) -> tuple[Load, Load]:
    def ask(at: Asked) -> Load:
        pid, port, body = at
        path = "/v2/models/m/infer"
        return drive(pid, port, path, body, connections=connections, seconds=SECONDS)

    return in_turn(ask, one, two, ROUNDS)


def _cpu(work: str, ours: Load, peer: Load) -> dict[str, Any]:
    return _row(work, ours.cpu_micros, peer.cpu_micros, "server CPU us/request")


def _rate(work: str, ours: Load, peer: Load) -> dict[str, Any]:
    row = _row(work, ours.per_second, peer.per_second, "requests/s")
    return {**row, "ratio": ours.per_second / peer.per_second}


def _row(work: str, ours: float, peer: float, unit: str) -> dict[str, Any]:
    return {
        "work": work,
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "peer_version": f"MLServer {VERSION}",
        "ratio": round(peer / ours, 2),
        "unit": unit,
    }


@contextmanager
def _ours(home: Path, x: Any, y: Any) -> Iterator[tuple[int, int, Any]]:
    """Serve the registered model; the third value starts a release at 5 %."""
    held = Store(home)
    for number in (1, 2):
        held.register("m", stored(held.objects, LogisticRegression(C=number).fit(x, y), x))
    held.deploy("m")
    with held.serving() as (pid, port):

        def release() -> None:
            live = Deployment(model="m", version=1, role=Role.LIVE, weight=0.95)
            canary = Deployment(model="m", version=2, role=Role.CANARY, weight=0.05)
            held.deploy_exactly("m", [live, canary])
            url = f"http://127.0.0.1:{port}/-/sync"
            urllib.request.urlopen(url, b'{"model": "m", "generation": 2}').close()

        yield pid, port, release
    held.close()


@contextmanager
def _peer(home: Path) -> Iterator[tuple[int, int]]:
    python = _environment()
    folder = home / "mlserver"
    folder.mkdir()
    train = [str(python), "-c", _TRAIN, str(home / "data.npz"), str(folder / "model.joblib")]
    subprocess.run(train, check=True)
    port = free_port()
    config = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,  # in process: its fastest for a model like this
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(config))
    model = {
        "name": "m",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    with running([str(python.parent / "mlserver"), "start", str(folder)], folder) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/v2/models/m/ready"), process)
        yield process.pid, port


def _environment() -> Path:
    """Return the Python of the peer's environment, made on first use."""
    python = _PEER / "bin" / "python"
    ready = _PEER / f"mlserver-{VERSION}"
    if not ready.exists():
        venv.create(_PEER, with_pip=True)
        needs = [f"mlserver=={VERSION}", f"mlserver-sklearn=={VERSION}"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *needs], check=True)
        ready.touch()
    return python
