"""Ten thousand clients log at the same moment: each is answered or told to come again."""

import asyncio
import resource
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.cli.running import free_ports, server
from tests.load import clients

from setpoint.runs import columns, service
from setpoint.runs.columns import Columns
from setpoint.sdk.remote import HttpBackend

CROWD = clients.of(1_000, 10_000)
POINTS = 2_000  #: of a request: 48 KB, half a gigabyte of all of ten thousand
RUNS = 20


def request(port: int, run: str, place: int) -> bytes:
    steps = np.arange(place * POINTS, (place + 1) * POINTS)
    points = columns.series("loss", Columns(steps, 1_700_000_000_000_000 + steps, steps / 2))
    cmd = service.Append(run=run, series=[points], source="crowd", position=0, late=True)
    body = msgspec.msgpack.encode(msgspec.structs.replace(cmd, source=f"client {place}"))
    head = (
        f"POST /api/v1/runs.append HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"content-type: application/msgpack\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def one(
    port: int,
    sent: bytes,
    all_here: asyncio.Barrier,
    told: "Counter[int]",
    open_: asyncio.Semaphore,
) -> None:
    async with open_:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await all_here.wait()
    status = 0
    while status != 200:
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split()[1])
        told[status] += 1
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        if status != 200:
            assert status == 503, head
            await asyncio.sleep(int(fields[b"retry-after"]))  # as it says
    writer.close()


async def crowd(port: int, runs: list[str]) -> "Counter[int]":
    told: Counter[int] = Counter()
    all_here, open_ = asyncio.Barrier(CROWD), asyncio.Semaphore(500)
    await asyncio.gather(
        *(
            one(port, request(port, runs[n % RUNS], n // RUNS), all_here, told, open_)
            for n in range(CROWD)
        )
    )
    return told


@pytest.fixture
def many_files() -> None:
    """Let this process and those it starts have a connection to every client."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < CROWD + 200:
        pytest.skip(f"{CROWD + 200} open files are needed, {most} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (CROWD + 200, most))


@pytest.mark.load
def test_a_crowd_is_answered_or_told_to_come_again(tmp_path: Path, many_files: None) -> None:
    _, port = free_ports()
    runs = [f"run-{n}" for n in range(RUNS)]
    with (
        server(tmp_path / "home", port) as process,
        closing(HttpBackend(f"http://127.0.0.1:{port}")) as backend,
    ):
        for run in runs:
            backend.call(service.start, service.Start(experiment="crowd", id=run))
        told = asyncio.run(crowd(port, runs))
        assert told[200] == CROWD
        assert set(told) <= {200, 503}
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        # What the sockets of all have brought before any is answered, and room for some bodies.
        assert peak >> 10 < 400 + CROWD // 10  #: MB
        for run in runs:
            kept = backend.call(service.history, service.History(run=run, metric="loss"))
            steps = columns.arrays(kept).steps
            assert np.array_equal(steps, np.arange(CROWD // RUNS * POINTS))
