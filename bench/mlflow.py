"""MLflow's own client against our server and against MLflow's, one beside the other.

Both serve the same client on this machine, one after the other, from SQLite. What the client
itself costs is measured too, against a server that answers ``{}`` to everything: no server can
be faster than that.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.load import descendants, free_port, peak_memory_mb
from tests.compat.environments import build, python_of

NAME = "mlflow"

# Runs in MLflow's environment, and prints what each kind of work took as JSON.
_WORK = """
import json, os, sys, time, uuid
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

url, kind = sys.argv[1:]
mlflow.set_tracking_uri(url)
client = MlflowClient(url)
store = client._tracking_client.store
now = 1_700_000_000_000


def took(count, work):
    began = time.perf_counter()
    for i in range(count):
        work(i)
    return (time.perf_counter() - began) / count


def batch(run):
    def work(i):
        points = [Metric(f"m{j % 10}", i + j / 7, now + j, 100 * i + j // 10) for j in range(1000)]
        client.log_batch(run, metrics=points)

    return work


if kind == "null":
    print(json.dumps({
        "batch": took(10, batch("r" * 32)),
        "metric": took(100, lambda i: client.log_metric("r" * 32, "loss", i / 7, step=i)),
    }))
    sys.exit()

experiment = client.create_experiment(uuid.uuid4().hex)
run = client.create_run(experiment).info.run_id
out = {"batch": took(10, batch(run))}
out["metric"] = took(100, lambda i: client.log_metric(run, "loss", i / 7, step=i))


def whole(i):
    metrics = [Metric(f"m{j}", (i * 7919 % 1000) / 1000 + j, now, 0) for j in range(20)]
    params = [Param(f"p{j}", str(i % (j + 2))) for j in range(20)]
    made = client.create_run(experiment).info.run_id
    client.log_batch(made, metrics=metrics, params=params)
    client.set_terminated(made)


out["run"] = took(1000, whole)


def search(_):
    answer = http_request(
        get_default_host_creds(url),
        "/api/2.0/mlflow/runs/search",
        "POST",
        json={
            "experiment_ids": [experiment],
            "filter": "metrics.m0 > 0.5 AND params.p3 = '1'",
            "order_by": ["metrics.m1 DESC"],
            "max_results": 100,
        },
    )
    assert len(answer.json()["runs"]) == 100


def every(_):
    answer = http_request(
        get_default_host_creds(url),
        "/api/2.0/mlflow/runs/search",
        "POST",
        json={"experiment_ids": [experiment], "max_results": 1000},
    )
    assert len(answer.json()["runs"]) == 1000


out["search"] = min(took(1, search) for _ in range(5))
out["every"] = min(took(1, every) for _ in range(3))
out["frame"] = took(1, lambda _: client.search_runs([experiment], max_results=1000))

long = client.create_run(experiment).info.run_id
for start in range(0, 100_000, 1000):
    client.log_batch(
        long, metrics=[Metric("loss", i / 7, now + i, i) for i in range(start, start + 1000)]
    )


def history(_):
    answer = http_request(
        get_default_host_creds(url),
        "/api/2.0/mlflow/metrics/get-history",
        "GET",
        params={"run_id": long, "metric_key": "loss"},
    )
    assert len(answer.json()["metrics"]) == 100_000


out["history"] = min(took(1, history) for _ in range(3))
out["history_client"] = took(1, lambda _: client.get_metric_history(long, "loss"))
out["version"] = mlflow.__version__
print(json.dumps(out))
"""

# Answers {} to everything, as fast as the standard library of asyncio can.
_NULL = """
import asyncio, sys

ANSWER = (
    b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 2\\r\\n\\r\\n{}"
)


async def handle(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        length = [l for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length")]
        if length:
            await reader.readexactly(int(length[0].split(b":")[1]))
        writer.write(ANSWER)
        await writer.drain()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1]), limit=1 << 24)
    await server.serve_forever()


asyncio.run(main())
"""


class Server(NamedTuple):
    url: str
    started: float  #: seconds until it was healthy
    memory: float  #: MB, idle, with its children
    processes: int


def run() -> list[dict[str, Any]]:
    build("mlflow")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with _serving(_ours(home), "/healthz") as ours:
            mine = _worked(ours.url, "work")
        with _serving(_theirs(home), "/health") as theirs:
            peer = _worked(theirs.url, "work")
        with _serving(_null, None) as nothing:
            floor = _worked(nothing.url, "null")
    beside = f"mlflow {peer['version']}"
    rows = [
        _rate("log_batch of 1,000 points", 1000, mine["batch"], peer["batch"], "points/s"),
        _rate("the same, the client alone", 1000, floor["batch"], None, "points/s"),
        _rate("log_metric one by one", 1, mine["metric"], peer["metric"], "calls/s"),
        _rate("the same, the client alone", 1, floor["metric"], None, "calls/s"),
        _time("a run with 20 params and 20 metrics, from start to end", mine["run"], peer["run"]),
        _time("search_runs, filter and order, 1,000 runs", mine["search"], peer["search"]),
        _time("1,000 runs by REST", mine["every"], peer["every"]),
        _time("1,000 runs as the client's objects", mine["frame"], peer["frame"]),
        _time("history of 100,000 points by REST", mine["history"], peer["history"]),
        _time("the same as the client's objects", mine["history_client"], peer["history_client"]),
        _time("server start until healthy", ours.started, theirs.started),
        _row("server memory, idle", ours.memory, theirs.memory, "MB"),
        _row("server processes", ours.processes, theirs.processes, ""),
    ]
    return [{**row, "peer_version": beside if row["peer"] is not None else None} for row in rows]


def _worked(url: str, kind: str) -> dict[str, Any]:
    words = [str(python_of("mlflow")), "-c", _WORK, url, kind]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""}  # noqa: TID251
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ours(home: Path) -> Any:
    def command(port: int) -> list[str]:
        module = [sys.executable, "-m", "setpoint.server"]
        return [*module, "--home", str(home / "ours"), "--port", str(port)]

    return command


def _theirs(home: Path) -> Any:
    def command(port: int) -> list[str]:
        module = [str(python_of("mlflow")), "-m", "mlflow", "server", "--port", str(port)]
        store = ["--backend-store-uri", f"sqlite:///{home / 'theirs.db'}"]
        return [*module, *store, "--artifacts-destination", str(home / "theirs")]

    return command


def _null(port: int) -> list[str]:
    return [sys.executable, "-c", _NULL, str(port)]


@contextmanager
def _serving(command: Any, health: str | None) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command(port), stdout=quiet, stderr=quiet) as process:
        try:
            while not _answers(f"{url}{health or '/'}"):
                if process.poll() is not None or time.perf_counter() - began > 120:
                    raise RuntimeError(f"{command(port)} did not become healthy")
                time.sleep(0.02)
            started = time.perf_counter() - began
            processes = 1 + len(descendants(process.pid))
            yield Server(url, started, peak_memory_mb(process.pid), processes)
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _rate(work: str, count: int, ours: float, peer: float | None, unit: str) -> dict[str, Any]:
    mine, theirs = count / ours, None if peer is None else count / peer
    ratio = None if theirs is None else round(mine / theirs, 1)
    return {**_row(work, mine, theirs, unit), "ratio": ratio}


def _time(work: str, ours: float, peer: float) -> dict[str, Any]:
    return _row(work, ours * 1e3, peer * 1e3, "ms")


def _row(work: str, ours: float, peer: float | None, unit: str) -> dict[str, Any]:
    return {
        "work": work,
        "ours": round(ours, 1),
        "peer": None if peer is None else round(peer, 1),
        "ratio": None if peer is None else round(peer / ours, 1),
        "unit": unit,
    }
