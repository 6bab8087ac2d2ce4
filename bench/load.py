"""A closed-loop HTTP client that costs little, and the CPU time of a process tree."""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Load:
    """What one run of requests took."""

    requests: int
    seconds: float
    cpu_micros: float  #: of the server, per request
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def drive(
    pid: int,
    port: int,
    path: str | Sequence[str],
    body: bytes,
    *,
    connections: int,
    seconds: float,
    headers: Mapping[str, str] = _JSON,
) -> Load:
    """Keep `connections` requests in flight for `seconds`; measure the server, not us.

    Of several paths each is asked in turn.
    """
    paths = [path] if isinstance(path, str) else path
    requests = [request(port, each, body, headers) for each in paths]
    warm = uvloop.run(_drive(port, requests, connections, min(1.0, seconds)))
    if not warm:
        raise RuntimeError(f"nothing on port {port} answered {path}")
    cpu, began = cpu_seconds(pid), time.perf_counter()
    latencies = uvloop.run(_drive(port, requests, connections, seconds))
    spent, took = cpu_seconds(pid) - cpu, time.perf_counter() - began
    latencies.sort()
    count = len(latencies)
    return Load(
        requests=count,
        seconds=took,
        cpu_micros=spent / count * 1e6,
        p50_ms=latencies[count // 2] * 1e3,
        p99_ms=latencies[min(count - 1, count * 99 // 100)] * 1e3,
    )


def request(port: int, path: str, body: bytes, headers: Mapping[str, str] = _JSON) -> bytes:
    """Return a request as it goes over the wire."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"{lines}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and its living descendants."""
    return sum(_own_cpu(one) for one in (pid, *descendants(pid)))


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def peak_memory_mb(pid: int) -> float:
    """Return the largest resident size so far, of the process and its descendants."""
    total = 0
    for one in (pid, *descendants(pid)):
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                total += int(line.split()[1])
    return total / 1024


def _own_cpu(pid: int) -> float:
    """Return the time its threads ran: to the nanosecond, or by ticks if that is more.

    What is kept to the nanosecond are the threads that live; the ticks have the dead, too.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    nanos = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError):  # it ended, or nothing is kept here
            nanos += int(task.read_text().split()[0])
    return max(nanos / 1e9, ticks)


class _Client(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], until: float, latencies: list[float]) -> None:
        self._requests = requests
        self._until = until
        self._latencies = latencies
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        start = head.lower().find(b"content-length:") + 15
        if start < 15:  # in chunks
            if not rest.endswith(b"0\r\n\r\n"):
                return
        elif len(rest) < int(head[start:].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError((head + rest)[:500].decode()))
            self._transport.close()
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


async def _drive(
    port: int, requests: Sequence[bytes], connections: int, seconds: float
) -> list[float]:
    until = time.perf_counter() + seconds
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    clients = []
    for number in range(connections):
        at = number * len(requests) // connections  # not all ask for the same
        mine = itertools.cycle([*requests[at:], *requests[:at]])
        _, client = await loop.create_connection(
            lambda mine=mine: _Client(mine, until, latencies),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return latencies
