"""The platform as its users start it: real processes, on free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psutil

from setpoint.errors import SetpointError
from setpoint.serve.client import Inference

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if not k.startswith("SETPOINT_")},
    "PYTHONPATH": str(ROOT / "src"),
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "2",
    "SETPOINT_ACTOR": "ada",
}


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "setpoint", *words]


def setpoint(
    folder: Path, *words: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of Setpoint as a process, in a folder."""
    return subprocess.run(
        command(*words),
        cwd=folder,
        env=ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for something that happens elsewhere, looking often."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.05)


class Up:
    """A running `setpoint up`."""

    def __init__(
        self, folder: Path, process: subprocess.Popen[str], ports: tuple[int, int]
    ) -> None:
        self.folder = folder
        self.process = process
        self.pages = f"http://127.0.0.1:{ports[0]}"
        self.url = f"http://127.0.0.1:{ports[1]}"
        self.client = Inference(self.url)

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        return all(answers(f"{url}/healthz") for url in (self.pages, self.url))

    def inference(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(c for c in children if "setpoint.serve" in c.cmdline())

    def worker(self) -> psutil.Process | None:
        for child in psutil.Process(self.process.pid).children():
            try:
                if "setpoint.control.worker" in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def serves(self, model: str) -> bool:
        try:
            self.client._send("GET", f"/v2/models/{model}/ready", b"")
        except SetpointError:
            return False
        return True

    def status(self) -> dict[str, object]:
        out = setpoint(self.folder, "status", "--json")
        found: dict[str, object] = json.loads(out.stdout)["models"][0]
        return found

    def stop(self) -> str:
        """Press Ctrl-C; return what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - loopback
            return bool(reply.status == 200)
    except OSError:
        return False


@contextmanager
def up(
    folder: Path,
    *words: str,
    ports: tuple[int, int] | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Up]:
    """Run `setpoint up` in a folder until the block ends."""
    ports = ports or free_ports()
    process = subprocess.Popen(
        command("up", "--port", str(ports[0]), "--inference-port", str(ports[1]), *words),
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = Up(folder, process, ports)
    try:
        until(found.healthy, "both ports healthy")
        yield found
    finally:
        found.client.close()
        found.stop()


@contextmanager
def server(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Pages and API alone, in a process that a test may kill."""
    words = [sys.executable, "-m", "setpoint.server", "--home", str(home), "--port", str(port)]
    with subprocess.Popen(words, env=ENVIRONMENT) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "the server answers")
            yield process
        finally:
            process.kill()
