"""What of a bare server's requests per second is left with a model, routing, logs and counts.

The bare one is uvicorn with uvloop and httptools and an application that reads the body and
answers one as long as ours: what any server written in Python on uvicorn cannot be faster than,
unless it goes around its protocol.
"""

import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from bench.load import Load, drive, free_port
from bench.served import Bar, Store, answers, body, data, in_turn, row, running, stored, until
from sklearn.linear_model import LogisticRegression

NAME = "serving_floor"
CONNECTIONS = (1, 16, 64)
SECONDS = 2.0
SHARE = 0.55
_PATH = "/v2/models/m/infer"

_ECHO = """
import sys
import uvicorn

ANSWER = b"x" * int(sys.argv[2])
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(scope, receive, send):
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none",
    lifespan="off", log_config=None, access_log=False, server_header=False, date_header=False,
)
"""


def run() -> list[dict[str, Any]]:
    x, y = data()
    asked = body()
    with tempfile.TemporaryDirectory() as folder:
        held = Store(Path(folder))
        held.register("m", stored(held.objects, LogisticRegression().fit(x, y), x))
        held.deploy("m")
        with held.serving() as ours, _echo(Path(folder), _length(ours[1], asked)) as bare:
            found = {c: in_turn(partial(_ask, asked, c), ours, bare) for c in CONNECTIONS}
        held.close()
    beside = f"uvicorn {uvicorn.__version__}, an echo"
    rows = []
    for c, (one, other) in found.items():
        work, bar = f"V2 inference beside a bare server, {c} in flight", Bar(SHARE, "x")
        rate, cpu = other.per_second, other.cpu_micros
        rows += [
            row(work, one.per_second, "requests/s", peer=rate, beside=beside, bar=bar),
            row(work, one.cpu_micros, "server CPU us/request", peer=cpu, beside=beside, bar=bar),
        ]
    return rows


def _ask(asked: bytes, connections: int, at: tuple[int, int]) -> Load:
    return drive(*at, _PATH, asked, connections=connections, seconds=SECONDS)


def _length(port: int, asked: bytes) -> int:
    """Return how long our answer is."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{_PATH}", asked) as answer:
        return len(answer.read())


@contextmanager
def _echo(home: Path, length: int) -> Iterator[tuple[int, int]]:
    port = free_port()
    folder = home / "echo"
    folder.mkdir()
    command = [sys.executable, "-c", _ECHO, str(port), str(length)]
    with running(command, folder) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/", b"{}"), process)
        yield process.pid, port
