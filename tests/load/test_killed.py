"""A hundred runs log at once; servers and clients are killed at any moment.

What was acknowledged is there, and nothing is there twice: a batch whose answer was lost is sent
again under its number, by whoever comes after the one that sent it first.
"""

import json
import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.cli.running import ENVIRONMENT, free_ports, server
from tests.load import clients

from setpoint.runs import columns, service
from setpoint.sdk.remote import HttpBackend

RUNS = 100
POINTS = 500  #: a batch, so that series are merged while processes are killed
CLIENTS = 2

# Sends batches of many runs in turn, each until it is acknowledged, and says so.
CLIENT = """
import json, sys, threading
import numpy as np
from setpoint.errors import Unavailable
from setpoint.runs import columns, service
from setpoint.runs.columns import Columns
from setpoint.sdk.remote import HttpBackend

backend, following, points = HttpBackend(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
pause = threading.Event()
while True:
    for run, number in following.items():
        steps = np.arange(number * points, (number + 1) * points)
        part = columns.series("loss", Columns(steps, 1_700_000_000_000_000 + steps, steps / 2))
        cmd = service.Append(run=run, series=[part], source="client", position=number)
        while True:
            try:
                backend.call(service.append, cmd)
                break
            except Unavailable:
                pause.wait(0.05)
        following[run] = number + 1
        sys.stdout.write(f"{run} {number}\\n")
        sys.stdout.flush()
"""


class _Client:
    """A process that logs into some runs, and what it was told."""

    def __init__(self, url: str, acknowledged: dict[str, int]) -> None:
        self._url = url
        self._acknowledged = acknowledged
        self._begin()

    def _begin(self) -> None:
        following = json.dumps({run: last + 1 for run, last in self._acknowledged.items()})
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, self._url, following, str(POINTS)],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def told(self) -> None:
        """Wait for a line."""
        assert self._process.stdout is not None
        self._note(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        for line in self._process.stdout.read().splitlines(keepends=True):
            self._note(line)
        self._process.stdout.close()
        self._process.wait()

    def again(self) -> None:
        """Kill it; another goes on after what it was told."""
        self.kill()
        self._begin()

    def _note(self, line: str) -> None:
        if line.endswith("\n"):  # half a line may be the last
            run, number = line.split()
            self._acknowledged[run] = int(number)


@pytest.mark.crash
@pytest.mark.load
def test_a_hundred_runs_lose_nothing_acknowledged_and_count_nothing_twice(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - moments to kill at
    _, port = free_ports()
    home, url = tmp_path / "home", f"http://127.0.0.1:{port}"
    acknowledged = {f"run-{number}": -1 for number in range(RUNS)}
    with server(home, port), closing(HttpBackend(url)) as backend:
        for run in acknowledged:
            backend.call(service.start, service.Start(experiment="load", id=run))
    parts = [dict.fromkeys(list(acknowledged)[n::CLIENTS], -1) for n in range(CLIENTS)]
    sending = [_Client(url, part) for part in parts]
    for _ in range(clients.of(2, 20)):
        with server(home, port) as process:
            for client in sending:
                client.told()
            for _ in range(chance.randrange(50, 400)):
                chance.choice(sending).told()
            chance.choice(sending).again()
            for _ in range(chance.randrange(20)):
                chance.choice(sending).told()
            process.kill()
    with server(home, port), closing(HttpBackend(url)) as backend:
        before = [dict(part) for part in parts]
        while any(part == was for part, was in zip(parts, before, strict=True)):
            for client in sending:  # all go on after the last kill
                client.told()
        for client, part in zip(sending, parts, strict=True):
            client.kill()
            acknowledged.update(part)
        for run, last in acknowledged.items():
            kept = columns.arrays(
                backend.call(service.history, service.History(run=run, metric="loss"))
            )
            assert kept.size >= (last + 1) * POINTS
            assert np.array_equal(kept.steps, np.arange(kept.size))
            assert np.array_equal(kept.values, kept.steps / 2)
            shown = backend.call(service.show, service.ShowRun(run=run))
            assert shown.latest["loss"].count == kept.size
        assert min(acknowledged.values()) >= 0
