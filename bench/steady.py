"""An open-loop HTTP client: requests leave by the clock, however slow the answers come.

``python -m bench.steady PORT PATH RATE SECONDS < body`` prints how long answers took as JSON. The
time of an answer counts from when its request was due, so that a server that stops for a moment
is charged for everything that should have come meanwhile, and not for one request. The client
never sleeps: it takes a core, and says how long it was itself kept from running.
"""

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass

from bench.load import request

_CONNECTIONS = 64
_PATIENCE_SECONDS = 60.0  #: for answers after the last request was due


@dataclass(frozen=True)
class Waits:
    """How long answers took, from when their requests were due."""

    requests: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    longest_ms: float
    over: dict[str, int]  #: how many took longer than so many ms
    paused_ms: float  #: the longest that the client itself did not run


def drive(port: int, path: str, body: bytes, *, rate: float, seconds: float) -> Waits:
    """Send `rate` requests a second for `seconds`."""
    asked = request(port, path, body)
    free = deque(_connect(port) for _ in range(_CONNECTIONS))
    poll = select.epoll()
    by_file = {each.fileno(): each for each in free}
    for number in by_file:
        poll.register(number, select.EPOLLIN)
    due_of: dict[int, float] = {}
    parts = dict.fromkeys(by_file, b"")
    waits: list[float] = []
    count, sent, clock = int(rate * seconds), 0, time.perf_counter
    gc.disable()
    begun = last = clock()
    paused = 0.0
    while len(waits) < count:
        now = clock()
        paused, last = max(paused, now - last), now
        while sent < count and free and begun + sent / rate <= now:
            one = free.popleft()
            due_of[one.fileno()] = begun + sent / rate
            one.send(asked)
            sent += 1
        if now - begun > seconds + _PATIENCE_SECONDS:
            raise RuntimeError(f"{count - len(waits)} of {count} requests were not answered")
        for number, _ in poll.poll(0):
            one = by_file[number]
            parts[number] += one.recv(65_536)
            if _whole(parts[number]):
                waits.append(clock() - due_of[number])
                parts[number] = b""
                free.append(one)
    gc.enable()
    for one in by_file.values():
        one.close()
    waits.sort()
    return Waits(
        requests=count,
        p50_ms=waits[count // 2] * 1e3,
        p99_ms=waits[count * 99 // 100] * 1e3,
        p999_ms=waits[count * 999 // 1000] * 1e3,
        longest_ms=waits[-1] * 1e3,
        over={str(ms): sum(wait * 1e3 > ms for wait in waits) for ms in (3, 5, 10, 20, 50)},
        paused_ms=paused * 1e3,
    )


def _connect(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setblocking(False)  # noqa: FBT003
    return one


def _whole(answer: bytes) -> bool:
    """Tell whether all of an answer is there.

    Raises:
        RuntimeError: If it is not 200, or the server closed the connection.
    """
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:500].decode(errors="replace") or "closed by the server")
    head, found, rest = answer.partition(b"\r\n\r\n")
    start = head.lower().find(b"content-length:") + 15
    return bool(found) and len(rest) >= int(head[start:].split(b"\r\n", 1)[0])


if __name__ == "__main__":
    port, path, rate, seconds = sys.argv[1:]
    found = drive(
        int(port), path, sys.stdin.buffer.read(), rate=float(rate), seconds=float(seconds)
    )
    print(json.dumps(asdict(found)))
