"""A closed-loop HTTP client that costs little, and the CPU time of a process tree."""

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


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


def drive(pid: int, port: int, path: str, body: bytes, *, connections: int, seconds: float) -> Load:
    """Keep `connections` requests in flight for `seconds`; measure the server, not us."""
    warm = asyncio.run(_drive(port, path, body, connections, min(1.0, seconds)))
    if not warm:
        raise RuntimeError(f"nothing on port {port} answered {path}")
    cpu, began = cpu_seconds(pid), time.perf_counter()
    latencies = asyncio.run(_drive(port, path, body, connections, seconds))
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
    """Return the time its threads ran, to the nanosecond; by ticks where that is not kept."""
    try:
        return sum(
            int(task.read_text().split()[0])
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat")
        ) / 1e9  # fmt: skip
    except (OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request = request
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
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        length = int(lower[start:].split(b"\r\n", 1)[0])
        if len(rest) < length:
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
        self._transport.write(self._request)


async def _drive(
    port: int, path: str, body: bytes, connections: int, seconds: float
) -> list[float]:
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    until = time.perf_counter() + seconds
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: _Client(request, until, latencies), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return latencies
