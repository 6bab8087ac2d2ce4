"""How long a server takes to its first answer, and what memory it takes, idle and by model.

From the start of the process to the first prediction of a gradient boosting of 100 trees,
compiled: of a package, and of a store. Memory is what the process alone takes and its share of
what it shares with others (PSS), a second after the first answer.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.load import free_port
from bench.served import (
    Bar,
    Store,
    answers,
    body,
    data,
    own_memory_mb,
    row,
    running,
    stored,
    until,
    write_package,
)
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

NAME = "serving_start"
ROUNDS = 5
MORE = 50
SECONDS_BAR, MEMORY_BAR = 2.0, 110.0


def run() -> list[dict[str, Any]]:
    x, y = data()
    rows = []
    kinds = {
        "logistic regression": LogisticRegression().fit(x, y),
        "gradient boosting of 100 trees": GradientBoostingClassifier(random_state=0).fit(x, y),
    }
    for name, model in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            held = Store(Path(folder) / "store")
            what = stored(held.objects, model, x)
            write_package(Path(folder) / "package", held.objects, what)
            for number in range(MORE + 1):
                held.register(f"m{number}" if number else "m", what)
            held.deploy("m")
            package = ["--package", str(Path(folder) / "package"), "--host", "127.0.0.1"]
            store = ["--home", str(held.home)]
            found: dict[str, list[tuple[float, ...]]] = {"a package": [], "a store": []}
            for _ in range(ROUNDS):
                for what_, words in (("a package", package), ("a store", store)):
                    found[what_].append(_started(words, Path(folder)))
            for what_, times in found.items():
                seconds, memory, whole = (median(each) for each in zip(*times, strict=True))
                of = f"{what_}, {name}"
                rows.append(row(f"first answer of {of}", seconds, "s", bar=Bar(SECONDS_BAR)))
                rows.append(row(f"memory of {of}, idle", memory, "MB", bar=Bar(MEMORY_BAR)))
                rows.append(row("the same, were it alone", whole, "MB", bar=Bar(MEMORY_BAR)))
            rows.append(row(f"memory a further {name}", _growth(held), "MB"))
            held.close()
    return rows


def _started(words: list[str], folder: Path) -> tuple[float, ...]:
    """Return the seconds to the first answer, and the memory a second later in MB, both ways."""
    with _first(words, folder) as (process, seconds, _):
        time.sleep(1)
        return seconds, own_memory_mb(process), own_memory_mb(process, "Rss")


@contextmanager
def _first(words: list[str], folder: Path) -> Iterator[tuple[int, float, int]]:
    port = free_port()
    url, asked = f"http://127.0.0.1:{port}/v2/models/m/infer", body()
    began = time.perf_counter()
    command = [sys.executable, "-m", "setpoint.serve", *words, "--port", str(port)]
    with running(command, folder) as process:
        until(lambda: answers(url, asked), process)
        yield process.pid, time.perf_counter() - began, port


def _growth(held: Store) -> float:
    """Return by how much memory grows with a model, in MB; all are loaded and were asked."""
    with _first(["--home", str(held.home)], held.home.parent) as (process, _, port):
        before = own_memory_mb(process)
        names = [f"m{number}" for number in range(1, MORE + 1)]
        for name in names:
            held.deploy(name)
        end = time.monotonic() + 60
        for name in names:
            while not answers(f"http://127.0.0.1:{port}/v2/models/{name}/infer", body()):
                if time.monotonic() > end:
                    raise RuntimeError(f"{name} was not served in time")
                time.sleep(0.05)
        after = own_memory_mb(process)
    for name in names:
        held.deploy(name, None)
    return (after - before) / MORE
