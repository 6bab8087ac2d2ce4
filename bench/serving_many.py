"""A thousand models behind one server, a hundred of them asked all the time.

Beside the same server with one model, asked as much: what a request costs must not grow with
what is deployed. Then how long the thousand take to start, and what memory they take.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.load import Load, drive
from bench.served import Bar, Store, body, data, in_turn, own_memory_mb, row, stored
from sklearn.linear_model import LogisticRegression

NAME = "serving_many"
MODELS, HOT, DIFFERENT = 1_000, 100, 20
CONNECTIONS = (16, 64)
SECONDS = 2.0
WITHIN = 1 / 1.1  #: of what a request to a server with one model costs
Asked = tuple[int, int, list[str]]  # process, port, paths


def run() -> list[dict[str, Any]]:
    x, y = data()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        one, many = Store(Path(folder) / "one"), Store(Path(folder) / "many")
        for held, count in ((one, 1), (many, MODELS)):
            kinds = [
                stored(held.objects, LogisticRegression(C=1 + number).fit(x, y), x)
                for number in range(min(count, DIFFERENT))
            ]
            for number in range(count):
                held.register(f"m{number}", kinds[number % len(kinds)])
                held.deploy(f"m{number}")
        times = []
        began = time.perf_counter()
        with one.serving() as first:
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
            with many.serving() as second:
                times.append(time.perf_counter() - began)
                memory = [own_memory_mb(pid) for pid, _ in (first, second)]
                hot = [_path(number * (MODELS // HOT)) for number in range(HOT)]
                for c in CONNECTIONS:
                    found = in_turn(
                        lambda at, c=c: _ask(at, c),  # type: ignore[misc]
                        (*second, hot),
                        (*first, [_path(0)]),
                    )
                    rows += _rows(f"{HOT} hot of {MODELS:,} models, {c} in flight", *found)
        one.close()
        many.close()
    beside = "one model"
    return [
        *rows,
        row(f"start with {MODELS:,} models", times[1], "s", peer=times[0], beside=beside),
        row(f"memory with {MODELS:,} models", memory[1], "MB", peer=memory[0], beside=beside),
    ]


def _path(number: int) -> str:
    return f"/v2/models/m{number}/infer"


def _ask(at: Asked, connections: int) -> Load:
    return drive(*at, body(), connections=connections, seconds=SECONDS)


def _rows(work: str, many: Load, one: Load) -> list[dict[str, Any]]:
    bar, beside = Bar(round(WITHIN, 2), "x"), "one model"
    cpu, rate = one.cpu_micros, one.per_second
    return [
        row(work, many.cpu_micros, "server CPU us/request", peer=cpu, beside=beside, bar=bar),
        row(work, many.per_second, "requests/s", peer=rate, beside=beside),
    ]
