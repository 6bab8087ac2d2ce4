"""Group commit: many writes, few transactions, each with an outcome of its own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from setpoint.config import Settings
from setpoint.db.group import GroupCommit
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Conflict, NotFound
from setpoint.runs import columns, service
from setpoint.runs.columns import Columns
from setpoint.runs.entities import Run


@pytest.fixture
def writes(backend: LocalBackend) -> Iterator[GroupCommit]:
    group = GroupCommit(backend)
    yield group
    group.close()


def batch(run: str, step: int, count: int = 3) -> service.Append:
    steps = np.arange(step, step + count)
    points = Columns(steps, 1_700_000_000_000_000 + steps, steps.astype(np.float64))
    return service.Append(run=run, series=[columns.series("loss", points)])


def curve(backend: LocalBackend, run: str) -> list[int]:
    found = backend.call(service.history, service.History(run=run, metric="loss"))
    return list(columns.arrays(found).steps.tolist())


def test_writes_of_many_threads_are_all_there(backend: LocalBackend, writes: GroupCommit) -> None:
    def go(number: int) -> Run:
        run = writes.call(service.start, service.Start(experiment="late"))
        for step in range(5):
            writes.call(service.append, batch(run.id, 3 * step))
            writes.call(service.log, service.Log(run=run.id, params={f"p{step}": number}))
        return writes.call(service.finish, service.Finish(run=run.id))

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(go, range(16)))
    for number, run in enumerate(runs):
        assert curve(backend, run.id) == list(range(15))
        shown = backend.call(service.show, service.ShowRun(run=run.id))
        assert shown.params == {f"p{step}": number for step in range(5)}


def test_one_that_fails_fails_alone(backend: LocalBackend, writes: GroupCommit) -> None:
    run = backend.call(service.start, service.Start(experiment="late", params={"leaves": 1}))
    asked: list[tuple[Any, Any]] = [
        (service.append, batch(run.id, 0)),
        (service.append, batch("nobody", 0)),
        (service.log, service.Log(run=run.id, tags={"kept": "no"}, params={"leaves": 2})),
        (service.log, service.Log(run=run.id, tags={"kept": "yes"})),
        (service.append, batch(run.id, 3)),
    ]

    async def together() -> list[object]:
        calls = [writes.run(op, cmd) for op, cmd in asked]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    outcomes = asyncio.run(together())
    kinds = [type(outcome) for outcome in outcomes]
    logged = service.Logged
    assert issubclass(kinds[2], Conflict)
    assert [kinds[i] for i in (0, 1, 3, 4)] == [logged, NotFound, logged, logged]
    assert curve(backend, run.id) == list(range(6))
    assert backend.call(service.show, service.ShowRun(run=run.id)).tags == {"kept": "yes"}


def test_after_it_was_closed_it_writes_again(backend: LocalBackend, writes: GroupCommit) -> None:
    writes.close()
    assert writes.call(service.start, service.Start(experiment="late")).experiment == "late"


WRITER = """
import sys
from pathlib import Path
from typing import Any
from concurrent.futures import ThreadPoolExecutor
from setpoint.config import Settings
from setpoint.db.group import GroupCommit
from setpoint.db.local import open_local
from setpoint.runs import service
sys.path.insert(0, sys.argv[3])
from tests.db.test_group import batch
backend = open_local(Settings(home=Path(sys.argv[1]), database_url=sys.argv[2], actor="ada"))
writes = GroupCommit(backend)

def go(number):
    run = f"run_{number}"
    writes.call(service.start, service.Start(experiment="late", id=run))
    for step in range(0, 10**9, 80):
        writes.call(service.append, batch(run, step, 80))
        print(f"{run} {step}\\n", end="", flush=True)

with ThreadPoolExecutor(8) as pool:
    list(pool.map(go, range(8)))
"""


def test_no_acknowledged_point_is_lost_when_the_writer_is_killed(settings: Settings) -> None:
    """Killed while it merges, too: 80 points a write, merged every 4,096."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(settings.home), settings.database_url, str(root)]
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(700)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().splitlines(keepends=True)
    acknowledged: dict[str, int] = {}
    for line in said:
        if line.endswith(b"\n") and line.strip():
            run, step = line.decode().split()
            acknowledged[run] = int(step)
    backend = open_local(settings)
    for name, last in acknowledged.items():
        found = curve(backend, name)
        assert found[: last + 80] == list(range(last + 80))
        assert len(found) <= last + 160  # one write may have been committed and not told
    assert len(acknowledged) == 8
    backend.engine.dispose()
