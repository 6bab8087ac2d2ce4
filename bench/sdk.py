"""Logging one metric call by call, beside the peers that are used in its place.

Each runs in a process and an environment of its own, one after the other, and is timed from
its first call until what was logged is on disk: their ``finish``, our ``flush``. Beginning a
run is not timed. Rounds are interleaved, and the median of each counts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, NamedTuple

from tests.compat.environments import build, python_of

NAME = "sdk"
ROUNDS = 3
_PEERS = Path(__file__).parent / ".peers"
_ROOT = Path(__file__).parents[1]

_TIMED = """
import json, sys, time
n = int(sys.argv[1])
{begin}
began = time.perf_counter()
for i in range(n):
    {log}
{end}
print(json.dumps(time.perf_counter() - began))
"""


class _Work(NamedTuple):
    title: str
    calls: int
    begin: str
    log: str
    end: str

    @property
    def script(self) -> str:
        return _TIMED.format(begin=self.begin, log=self.log, end=self.end)


_OFFLINE = _Work(
    "run.log, until on disk",
    10_000,
    "import setpoint as sp; run = sp.run('b', home='home', offline=True); run.flush()",
    "run.log(loss=1 / (i + 1), step=i)",
    "assert run.flush()",
)
_STORED = _Work(
    "run.log, until in the store",
    10_000,
    "import setpoint as sp; run = sp.run('b', home='home'); run.flush(60)",
    "run.log(loss=1 / (i + 1), step=i)",
    "assert run.flush(60)",
)
_THEIRS = {
    "trackio": _Work(
        "trackio.log",
        10_000,
        "import trackio; trackio.init(project='b')",
        "trackio.log({'loss': 1 / (i + 1)}, step=i)",
        "trackio.finish()",
    ),
    "wandb": _Work(
        "wandb offline",
        10_000,
        "import wandb; run = wandb.init(project='b', mode='offline')",
        "run.log({'loss': 1 / (i + 1)}, step=i)",
        "run.finish()",
    ),
    "aim": _Work(
        "aim track",
        10_000,
        "from aim import Run; run = Run(repo='.', system_tracking_interval=None)",
        "run.track(1 / (i + 1), name='loss', step=i)",
        "run.close()",
    ),
    "mlflow": _Work(
        "mlflow.log_metric to SQLite",
        300,
        "import mlflow; mlflow.set_tracking_uri('sqlite:///b.db'); mlflow.start_run()",
        "mlflow.log_metric('loss', 1 / (i + 1), step=i)",
        "mlflow.end_run()",
    ),
}


def run() -> list[dict[str, Any]]:
    pythons = {name: _environment(name) for name in _THEIRS}
    works = {
        "ours": (sys.executable, _OFFLINE),
        "stored": (sys.executable, _STORED),
        **{name: (str(pythons[name]), work) for name, work in _THEIRS.items()},
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (python, work) in works.items():
            taken[name].append(work.calls / _seconds(python, work))
    rate = {name: statistics.median(rates) for name, rates in taken.items()}
    rows = [
        _row(f"run.log beside {name}", rate["ours"], rate[name], name, pythons) for name in _THEIRS
    ]
    return [*rows, _row("run.log until in the store", rate["stored"], None, "", pythons)]


def _seconds(python: str, work: _Work) -> float:
    """Run one script in a folder of its own; return the seconds that it measured."""
    quiet = {"WANDB_SILENT": "true", "TRACKIO_LOCAL_DIR": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, **quiet, "HOME": folder, "PYTHONPATH": ""}  # noqa: TID251
        if python == sys.executable:
            env["PYTHONPATH"] = str(_ROOT / "src")
        done = subprocess.run(
            [python, "-c", work.script, str(work.calls)],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{work.title} failed: {done.stderr[-2_000:]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def _row(
    work: str, ours: float, peer: float | None, name: str, pythons: dict[str, Path]
) -> dict[str, Any]:
    return {
        "work": work,
        "ours": round(ours),
        "peer": None if peer is None else round(peer),
        "peer_version": f"{name} {_version(pythons[name], name)}" if name else None,
        "ratio": None if peer is None else round(ours / peer, 1),
        "unit": "points/s",
    }


def _version(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.check_output([str(python), "-c", code], text=True).strip()


def _environment(name: str) -> Path:
    """Return the Python of a peer's environment, made on first use."""
    if name in {"mlflow", "wandb"}:
        build(name)
        return python_of(name)
    folder = _PEERS / name
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", name], check=True)
        ready.touch()
    return python
