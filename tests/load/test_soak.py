"""Millions of requests to one server: its memory is what it was.

``make soak`` sends ten million, ``make soak REQUESTS=…`` as many as that; `make test` a few.
"""

import gzip
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.load.wire import BODY, Wire, infer, request
from tests.serve.made import live
from tests.serve.processes import process

from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.serve import frames, seal, store
from setpoint.serve.entities import Position

REQUESTS = int(os.environ.get("SOAK") or 60_000)
CONNECTIONS = 16
LOOKS = 50  #: at the server's memory
WARM = 0.3  #: of all requests, before growth is measured
MOST_GROWTH = 6 << 20  #: bytes over the rest of the run; of ten million requests, under one each

CSV = b"a,b\n1.0,2.0\n3.0,\n"
RAW = np.array([[1.0, 2.0]]).tobytes()
HEAD = (
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64",'
    b'"parameters":{"binary_data_size":16}}],"parameters":{"binary_data_output":true}}'
)
#: What else is asked, with the status of its answer.
OTHERS: tuple[tuple[int, bytes], ...] = (
    (200, infer(BODY, "x-other: 1")),  # the long way
    (200, infer(gzip.compress(BODY), "content-encoding: gzip")),
    (200, infer(HEAD + RAW, f"inference-header-content-length: {len(HEAD)}")),
    (200, request("/v1/models/m:predict", b'{"instances": [[1.0, 2.0]]}')),
    (200, request("/invocations", CSV, "content-type: text/csv", "accept: text/csv")),
    (200, request("/invocations", b'{"inputs": {"a": [1], "b": [null]}}')),
    (200, request("/models/m/invoke", b'{"instances": [{"a": 1, "b": 2}]}')),
    (200, request("/v2/models/m")),
    (200, request("/metrics")),
    (400, infer(b"{}")),
    (400, infer(b"[" * 5_000)),
    (400, infer(BODY.replace(b"[1,2]", b"[4294967296,1000000000]"))),
    (404, infer(model="unknown")),
    (400, request("/invocations", b"nothing,of,this", "content-type: text/csv")),
    (404, request("/nowhere")),
)


def memory(pid: int) -> tuple[int, int]:
    """Return the bytes that a process holds: all, and those that are no file's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return tuple(int(found[name].split()[0]) << 10 for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


@contextmanager
def sealing(folder: Path) -> Iterator[list[int]]:
    """Seal and expire what is logged meanwhile, so that the disk does not fill."""
    stop, sealed = threading.Event(), [0]

    def often() -> None:
        while not stop.wait(1.0):
            numbers = frames.segments(folder)
            if len(numbers) > 1:
                sealed[0] += len(seal.seal(folder, Position(segment=numbers[-1], offset=0)))
                seal.expire(folder, "m", date.max - timedelta(days=1))

    thread = threading.Thread(target=often)
    thread.start()
    try:
        yield sealed
    finally:
        stop.set()
        thread.join()


def slope(sent: "np.ndarray", held: "np.ndarray") -> tuple[float, float]:
    """Return bytes a request, and half the width of its 95 % interval, by least squares."""
    x, y = sent - sent.mean(), held - held.mean()
    found = float(x @ y / (x @ x))
    rest = y - found * x
    return found, 1.96 * float(np.sqrt(rest @ rest / max(len(x) - 2, 1) / (x @ x)))


@pytest.mark.load
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_memory_does_not_grow_with_requests(
    settings: Settings, backend: LocalBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
    with process(settings) as (server, port), sealing(settings.log) as sealed:
        wires = [Wire(port, 60.0) for _ in range(CONNECTIONS)]
        looks: list[tuple[int, int, int]] = []
        sent, began = 0, time.monotonic()
        plain = infer()
        rounds = REQUESTS // CONNECTIONS
        for number in range(rounds):
            if number % 40 == 39:
                sent += mixed(wires)
            else:
                for wire in wires:
                    wire.socket.send(plain)
                for wire in wires:
                    piece = wire.socket.recv(4_096)
                    if not piece.startswith(b"HTTP/1.1 200") or piece[-1:] != b"}":
                        assert wire.answer(piece).status == 200  # it came in pieces
                sent += CONNECTIONS
            if number % (rounds // LOOKS) == 0:
                looks.append((sent, *memory(server.pid)))
                if len(looks) % 5 == 1 and REQUESTS > 1_000_000:
                    with capsys.disabled():
                        sys.stdout.write(f"\n{told(looks[-1])}, {time.monotonic() - began:.0f} s")
                        sys.stdout.flush()
        seconds = time.monotonic() - began
        for wire in wires:
            wire.close()
    all_ = np.array(looks, dtype=np.float64)
    warm = all_[all_[:, 0] >= WARM * sent]
    grown, width = slope(warm[:, 0], warm[:, 2])
    with capsys.disabled():
        sys.stdout.write(
            f"\nsoak: {sent:,} requests in {seconds:.0f} s, {sealed[0]} files sealed; "
            f"{told(looks[0])}; {told(looks[-1])}; "
            f"{grown:+.3f} ± {width:.3f} bytes a request once warm\n"
        )
    assert (grown - width) * (sent - warm[0, 0]) < MOST_GROWTH, looks


def told(look: tuple[int, int, int]) -> str:
    sent, resident, anonymous = look
    return f"after {sent:,}: {resident / 2**20:.1f} MB resident, {anonymous / 2**20:.1f} MB its own"


def mixed(wires: list[Wire]) -> int:
    """Ask for everything else, one on each connection in turn."""
    for at, (status, asked) in enumerate(OTHERS):
        answer = wires[at % len(wires)].ask(asked)
        assert answer.status == status, (asked, answer)
    two = infer() + infer()  # pipelined
    assert [wires[0].send(two).answer().status, wires[0].answer().status] == [200, 200]
    return len(OTHERS) + 2
