"""Tracking: what a point takes on disk, finding runs, reading curves, and a hundred runs at once.

MLflow's own store, on SQLite too, does the searching and reading beside us. Set
``SETPOINT_BENCH_DATABASE`` to a PostgreSQL URL to measure ours there.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from bench.load import cpu_seconds, free_port
from bench.load_tracking import RATE, Load
from sqlalchemy import insert
from tests.compat.environments import build, python_of

from setpoint.config import Settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.runs import columns, service, tables
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Latest
from setpoint.runs.store import cards, naming
from setpoint.runs.store import runs as store

NAME = "tracking"
_ROOT = Path(__file__).parents[1]
SECONDS = 60.0  #: of load
_PROMPT = 200  #: ms to an answer that nobody minds
_DATABASE = "SETPOINT_BENCH_DATABASE"
_HAS = 20  #: params and metrics of a run
_AT = 1_760_000_000_000_000
_FILTER = "metrics.m0 > 0.5 AND params.p1 = '3'"
_ALL = "metrics.m0 > -9"
_ORDER = ["metrics.m1 DESC"]

_MLFLOW = """
import json, random, sys, time
from mlflow import MlflowClient, __version__
from mlflow.entities import Metric, Param
client = MlflowClient(tracking_uri="sqlite:///peer.db")
experiment = client.create_experiment("bench")
rng = random.Random(1)
for i in range(1000):
    run = client.create_run(experiment).info.run_id
    client.log_batch(
        run,
        metrics=[Metric(f"m{j}", rng.gauss(0, 1), 0, 1) for j in range(20)],
        params=[Param(f"p{j}", str(rng.randrange(8))) for j in range(20)],
    )
for start in range(0, 100_000, 1000):
    steps = range(start, start + 1000)
    client.log_batch(run, metrics=[Metric("curve", rng.random(), s, s) for s in steps])

def best(act):
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        assert act()
        taken.append(time.perf_counter() - began)
    return min(taken) * 1000

order = ["metrics.m1 DESC"]
print(json.dumps({
    "version": __version__,
    "search": best(lambda: client.search_runs([experiment], "metrics.m0 > -9", order_by=order)),
    "some": best(lambda: client.search_runs(
        [experiment], "metrics.m0 > 0.5 AND params.p1 = '3'", order_by=order)),
    "history": best(lambda: client.get_metric_history(run, "curve")),
}))
"""


def run() -> list[dict[str, Any]]:
    peer = _mlflow()
    with _store() as backend:
        rows = [*_curves(backend, peer), *_searches(backend, peer)]
    return [*rows, *_ingest()]


def _row(work: str, ours: float, unit: str, peer: float | None = None, who: str = "") -> Any:
    ratio = None if peer is None else peer / ours
    return {
        "work": work,
        "ours": round(ours, 2),
        "peer": None if peer is None else round(peer, 1),
        "peer_version": who or None,
        "ratio": ratio,
        "unit": unit,
    }


@contextmanager
def _store() -> Iterator[LocalBackend]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        url = os.environ.get(_DATABASE, f"sqlite:///{home}/setpoint.db")  # noqa: TID251
        backend = open_local(Settings(home=home, database_url=url, actor="bench"))
        yield backend
        backend.engine.dispose()


def _best(act: Callable[[], Any], times: int = 7) -> float:
    """Return the least of several times, in milliseconds: the rest is other people's work."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        assert act()
        taken.append(time.perf_counter() - began)
    return min(taken) * 1e3


def _curves(backend: LocalBackend, peer: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure a curve of a million noisy values, ten thousand a batch, then one of 100,000."""
    run = backend.call(service.start, service.Start(experiment="curves")).id
    rng = np.random.default_rng(1)
    before = _size(backend)
    for name, count in (("long", 1_000_000), ("curve", 100_000)):
        steps = np.arange(count)
        at = _AT + np.cumsum(rng.integers(900, 1_100, count))
        whole = Columns(steps, at, rng.normal(size=count))
        for start in range(0, count, 10_000):
            part = columns.series(name, whole.only(slice(start, start + 10_000)))
            backend.call(service.append, service.Append(run=run, series=[part]))
    backend.call(service.finish, service.Finish(run=run))
    size = (_size(backend) - before) / 1_100_000
    history = service.History(run=run, metric="curve")
    bands = service.Histories(runs=[run], metrics=["long"], at_most=1_000)
    return [
        _row("a noisy point on disk", size, "bytes"),
        _row(
            "history of 100,000 points",
            _best(lambda: len(backend.call(service.history, history))),
            "ms",
            peer["history"],
            peer["version"],
        ),
        _row(
            "a million points as 1,000 stretches",
            _best(lambda: backend.call(service.histories, bands).curves),
            "ms",
        ),
    ]


def _size(backend: LocalBackend) -> int:
    query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    if backend.engine.dialect.name == "postgresql":
        query = "SELECT pg_database_size(current_database())"
    with backend.reading() as conn:
        return int(conn.exec_driver_sql(query).scalar_one())


def _searches(backend: LocalBackend, peer: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for count in (1_000, 100_000):
        name = f"bench {count}"
        _fill(backend, name, count)
        asked = service.SearchRuns(experiments=[name], order=_ORDER, limit=1_000)
        every = msgspec.structs.replace(asked, filter=_ALL)
        some = msgspec.structs.replace(asked, filter=_FILTER, limit=100)
        small = count == 1_000
        for title, cmd, key in (("all", every, "search"), ("the best few", some, "some")):
            rows.append(
                _row(
                    f"search {count:,} runs by filter and order, {title}",
                    _best(lambda cmd=cmd: backend.call(service.search, cmd).runs),  # type: ignore[misc]
                    "ms",
                    peer[key] if small else None,
                    peer["version"] if small else "",
                )
            )
    return rows


def _fill(backend: LocalBackend, experiment: str, count: int) -> None:
    """Write runs as they are when they have ended, without the time that running takes."""
    rng = np.random.default_rng(1)
    with backend.engine.begin() as conn:
        ctx = backend.context(conn)
        number = service.create_experiment(ctx, service.CreateExperiment(name=experiment)).id
        names = [f"{kind}{i}" for kind in "pm" for i in range(_HAS)]
        ids = naming.numbers(conn, names)
        for start in range(0, count, 1_000):
            _thousand(ctx, number, ids, start, rng)


def _thousand(ctx: Any, number: int, ids: dict[str, int], start: int, rng: Any) -> None:
    conn, some = ctx.conn, range(1_000)
    base = {"experiment_id": number, "status": "finished", "lifecycle": "active", "error": ""}
    base |= {"name": "", "actor": "bench", "started_at": ctx.now}
    conn.execute(insert(tables.runs), [{"id": f"{number}-{start + i}", **base} for i in some])
    found = store.keys(conn, [f"{number}-{start + i}" for i in some])
    params, metrics = rng.integers(0, 8, (1_000, _HAS)), rng.normal(size=(1_000, _HAS))
    values, latest, kept = [], [], []
    for i in some:
        key = found[f"{number}-{start + i}"]
        card = cards.Card()
        full = {}
        for j in range(_HAS):
            text, value = str(params[i, j]), float(metrics[i, j])
            card.params[f"p{j}"], card.metrics[f"m{j}"] = text, value
            full[f"m{j}"] = Latest(value=value, step=0, at=ctx.now, min=value, max=value, count=1)
            row = {"run_key": key, "kind": 0, "name_id": ids[f"p{j}"], "type": "s"}
            values.append({**row, "head": text, "rest": None, "number": float(text)})
            row = {"run_key": key, "name_id": ids[f"m{j}"], "value": value, "step": 0, "at": _AT}
            row |= {"low": value, "high": value, "count": 1, "loose_rows": 0, "loose_points": 0}
            latest.append(row)
        card.full = msgspec.Raw(msgspec.msgpack.encode(full))
        kept.append({"run_key": key, "body": msgspec.msgpack.encode(card)})
    conn.execute(insert(tables.run_values), values)
    conn.execute(insert(tables.run_metrics), latest)
    conn.execute(insert(tables.run_cards), kept)


def _ingest() -> list[dict[str, Any]]:
    """Measure a hundred runs that send 1,000 points at a time to a server for a minute."""
    found, spent = _loaded(SECONDS, RATE)
    steady = 0.0
    for rate in (3_400, 3_200, 3_000, 2_500, 2_000, 1_500, 1_000):
        tried, _ = _loaded(SECONDS / 4, rate)
        if tried["p99"] <= _PROMPT:
            steady = tried["rate"]
            break
    return [
        _row("points taken from 100 runs at once", found["rate"], "points/s"),
        _row("until a thousand points are acknowledged, 99 of 100", found["p99"], "ms"),
        _row("until they are acknowledged, median", found["p50"], "ms"),
        _row("CPU of the server for a million points", spent, "s"),
        _row("CPU of the 100 clients for a million points", found["cpu"], "s"),
        _row(f"the most at which 99 of 100 wait {_PROMPT} ms or less", steady, "points/s"),
    ]


def _loaded(seconds: float, rate: float) -> tuple[dict[str, float], float]:
    """Return what a load found, and the server's CPU seconds for a million points."""
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        url = os.environ.get(_DATABASE, f"sqlite:///{home}/setpoint.db")  # noqa: TID251
        serve = [sys.executable, "-m", "setpoint.server", "--home", home, "--port", str(port)]
        environment = {**os.environ, "SETPOINT_DATABASE_URL": url}  # noqa: TID251
        with subprocess.Popen(serve, cwd=_ROOT, env=environment) as server:
            try:
                load = Load(port, runs=100, seconds=seconds, rate=rate)
                before = cpu_seconds(server.pid)
                found = load.run()
                spent = cpu_seconds(server.pid) - before
                return found, spent / found["points"] * 1e6
            finally:
                server.terminate()


def _mlflow() -> dict[str, Any]:
    build("mlflow")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(python_of("mlflow")), "-c", _MLFLOW],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    said["version"] = f"mlflow {said['version']}"
    return said
