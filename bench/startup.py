"""How long one waits: for the import, the help, and the platform to be healthy."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bench.load import free_port

NAME = "startup"
_TIMES = 7


def run() -> list[dict[str, Any]]:
    nothing = _best([sys.executable, "-c", ""])
    setpoint = str(Path(sys.executable).parent / "setpoint")
    return [
        _row("import setpoint", _best([sys.executable, "-c", "import setpoint"]) - nothing),
        _row("setpoint --help", _best([setpoint, "--help"])),
        _row("setpoint up, until both ports are healthy", min(_up(setpoint) for _ in range(3))),
    ]


def _row(work: str, seconds: float) -> dict[str, Any]:
    return {
        "work": work,
        "ours": round(seconds * 1e3, 1),
        "peer": None,
        "peer_version": None,
        "ratio": None,
        "unit": "ms",
    }


def _best(command: list[str]) -> float:
    """Return the least of several times: the rest is other people's work."""
    taken = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _up(setpoint: str) -> float:
    ports = [free_port(), free_port()]
    with tempfile.TemporaryDirectory() as home:
        command = [setpoint, "up", "--home", home]
        command += ["--port", str(ports[0]), "--inference-port", str(ports[1])]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ)) as process:  # noqa: TID251
            try:
                while not all(_healthy(port) for port in ports):
                    if process.poll() is not None or time.perf_counter() - began > 60:
                        raise RuntimeError("setpoint up did not become healthy")
                    time.sleep(0.01)
                return time.perf_counter() - began
            finally:
                process.terminate()
                process.wait(20)


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
