"""A closed-loop HTTP client that costs little, and the CPU time of a process tree."""

import contextlib
import itertools
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    warm = _drive(port, requests, connections, min(1.0, seconds))
    if not warm:
        raise RuntimeError(f"nothing on port {port} answered {path}")
    cpu, began = cpu_seconds(pid), time.perf_counter()
    latencies = _drive(port, requests, connections, seconds)
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


class _Client:
    """One connection, on which a request is sent once the one before is answered.

    A bare socket: what the client takes for itself, the server of one client waits for, and that
    of several is asked less at once.
    """

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._buffer = b""
        self._sent = 0.0

    def send(self) -> None:
        request = next(self._requests)
        self._sent = time.perf_counter()
        self.socket.sendall(request)

    def received(self) -> float | None:
        """Read what there is; return how long the answer took if that was its end."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise RuntimeError(f"the server hung up: {self._buffer[:500]!r}")
        found = self._buffer + data if self._buffer else data
        if not _is_whole(found):
            self._buffer = found
            return None
        self._buffer = b""
        if not found.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(found[:500].decode())
        return time.perf_counter() - self._sent


def _is_whole(answer: bytes) -> bool:
    body = answer.find(b"\r\n\r\n") + 4
    if body < 4:
        return False
    head = answer[:body].lower()
    length = head.find(b"content-length:") + 15
    if length < 15:  # in chunks
        return answer.endswith(b"0\r\n\r\n")
    return len(answer) - body >= int(head[length : head.index(b"\r", length)])


def _drive(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> list[float]:
    clients: dict[int, _Client] = {}
    for number in range(connections):
        at = number * len(requests) // connections  # not all ask for the same
        client = _Client(port, itertools.cycle([*requests[at:], *requests[:at]]))
        clients[client.socket.fileno()] = client
    latencies: list[float] = []
    with contextlib.ExitStack() as opened, select.epoll() as poller:
        for file, client in clients.items():
            opened.enter_context(client.socket)
            poller.register(file, select.EPOLLIN)
            client.send()
        until = time.perf_counter() + seconds
        waiting = len(clients)
        # One alone is waited for where it is read, which is a call less.
        alone = [(file, 0) for file in clients] if connections == 1 else None
        while waiting:
            for file, _ in alone or poller.poll():
                took = clients[file].received()
                if took is None:
                    continue
                latencies.append(took)
                if time.perf_counter() < until:
                    clients[file].send()
                else:
                    poller.unregister(file)
                    waiting -= 1
    return latencies
