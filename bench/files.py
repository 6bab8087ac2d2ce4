"""A file of 500 MB, up and down by plain HTTP, beside what this machine's disk can do at all.

No client's library is in between: bytes go from one file into a socket, and from a socket into
nowhere, as the system copies them. A disk that must have the bytes for good is the limit of many
machines, so the same is measured in memory (``/dev/shm``) too, and the floors stand beside it.
"""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench.load import cpu_seconds, free_port
from blake3 import blake3

from setpoint.runs import service
from setpoint.sdk.remote import HttpBackend

NAME = "files"
SIZE = 500 * 1024 * 1024
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder in memory, wherever there is one
_PIECE = 1 << 20


class _Moved(NamedTuple):
    rate: float  #: MB a second
    cpu: float  #: seconds of the server, for 1,000 MB


def run() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for place, parent in (("disk", None), ("memory", _MEMORY)):
        if parent is None or parent.is_dir():
            with tempfile.TemporaryDirectory(dir=parent) as folder:
                rows += _of(place, Path(folder))
    return rows


def _of(place: str, folder: Path) -> list[dict[str, Any]]:
    source = folder / "source"
    floor = _written(source)
    address = _address(source)
    rows = [_row(f"{place}: written and synced, nothing else", floor, "MB/s")]
    with _serving(folder / "home") as (pid, url):
        backend = HttpBackend(url)
        run = backend.call(service.start, service.Start(experiment="files"))
        mlflow = f"/api/2.0/mlflow-artifacts/artifacts/{run.experiment_id}/{run.id}/artifacts/f"
        was = _memory_mb(pid)
        for title, path in (("MLflow's way", mlflow), ("ours", f"/objects/{address}")):
            up, down = _up(pid, url, path, source), _down(pid, url, path)
            _forget(folder / "home")
            rows += [
                _row(f"{place}: up, {title}", up.rate, "MB/s", share=up.rate / floor),
                _row(f"{place}: up, {title}, CPU of the server", up.cpu, "s/GB"),
                _row(f"{place}: down, {title}", down.rate, "MB/s"),
                _row(f"{place}: down, {title}, CPU of the server", down.cpu, "s/GB"),
            ]
        rows.append(_row(f"{place}: memory the server grew by", _memory_mb(pid) - was, "MB"))
    return rows


def _written(path: Path) -> float:
    """Write random bytes that stay; return MB a second."""
    piece = os.urandom(_PIECE)
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(SIZE // _PIECE):
            file.write(piece)
        os.fsync(file.fileno())
    return SIZE / (time.perf_counter() - began) / 1e6


def _address(path: Path) -> str:
    return "b3:" + blake3().update_mmap(path).hexdigest()


def _forget(home: Path) -> None:
    """Delete every object, so that the next upload writes its bytes too."""
    for file in (home / "objects").glob("??/*"):
        file.unlink()


def _up(pid: int, url: str, path: str, source: Path) -> _Moved:
    def send(connection: http.client.HTTPConnection) -> None:
        connection.putrequest("PUT", path)
        connection.putheader("content-length", str(SIZE))
        connection.endheaders()
        with source.open("rb") as file:
            connection.sock.sendfile(file)

    return _moved(pid, url, send)


def _down(pid: int, url: str, path: str) -> _Moved:
    return _moved(pid, url, lambda connection: connection.request("GET", path))


def _moved(pid: int, url: str, ask: Any) -> _Moved:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    cpu, began = cpu_seconds(pid), time.perf_counter()
    ask(connection)
    reply = connection.getresponse()
    held, size = bytearray(_PIECE), 0
    while found := reply.readinto(held):
        size += found
    taken = time.perf_counter() - began
    if reply.status >= http.client.BAD_REQUEST:
        raise RuntimeError(bytes(held[:500]).decode())
    connection.close()
    return _Moved(SIZE / taken / 1e6, (cpu_seconds(pid) - cpu) / SIZE * 1e9)


@contextmanager
def _serving(home: Path) -> Iterator[tuple[int, str]]:
    port = free_port()
    words = [sys.executable, "-m", "setpoint.server", "--home", str(home), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(words) as process:
        try:
            while not _healthy(url):
                if process.poll() is not None:
                    raise RuntimeError("the server ended")
                time.sleep(0.05)
            yield process.pid, url
        finally:
            process.terminate()


def _healthy(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _memory_mb(pid: int) -> float:
    """Return the largest resident size so far, without pages of files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _row(work: str, ours: float, unit: str, share: float | None = None) -> dict[str, Any]:
    """Return one row; `share`, of the floor, stands where a peer's ratio does."""
    return {
        "work": work,
        "ours": round(ours, 2),
        "peer": None,
        "peer_version": None if share is None else "writing and syncing alone",
        "ratio": None if share is None else round(share, 2),
        "unit": unit,
    }
