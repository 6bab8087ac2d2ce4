"""A server for foreign clients, and what they called of it."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.compat.environments import needed
from tests.server.conftest import serving

from setpoint.config import Settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.notify.deliver import Deliverer
from setpoint.server.app import create_app
from setpoint.server.mlflow.registry_webhooks import KINDS

_SECONDS = 900  #: for a client's script
_THEIRS = ("PYTHON", "MLFLOW", "WANDB_")  #: settings of ours that a client must not see
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Which packages a model asks for is found by loading it in a new process, or, here, assumed.
    "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Called(NamedTuple):
    method: str
    path: str
    status: int


class Recorder:
    """Passes requests on and notes which were answered how."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self.calls: list[Called] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                with self._lock:
                    self.calls.append(Called(scope["method"], scope["path"], message["status"]))
            await send(message)

        if scope["type"] == "http":
            await self._app(scope, receive, note)
        else:
            await self._app(scope, receive, send)


class Running(NamedTuple):
    url: str
    recorder: Recorder
    backend: LocalBackend


@contextmanager
def running(
    home: Path, database_url: str, recording: Callable[[ASGIApp], Recorder] = Recorder
) -> Iterator[Running]:
    """Serve an empty store on a free port, by the time of the wall clock; deliver to webhooks."""
    backend = open_local(Settings(home=home, database_url=database_url, actor="ada"))
    recorder = recording(create_app(backend))
    stopping = threading.Event()
    delivering = threading.Thread(target=Deliverer(backend, KINDS).run, args=(stopping,))
    delivering.start()
    try:
        with serving(recorder) as url:
            yield Running(url, recorder, backend)
    finally:
        stopping.set()
        delivering.join()
        backend.engine.dispose()


def client(
    name: str, script: Path, *words: str, folder: Path | None = None, **environment: str
) -> str:
    """Run a script in a client's environment, in a folder; return what it printed."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(_THEIRS)}
    done = subprocess.run(
        [str(needed(name)), str(script), *words],
        cwd=folder,
        env={**ours, **_QUIET, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def stories(output: str) -> dict[str, dict[str, Any]]:
    """Return what a script told of its stories, by name."""
    return {line["journey"]: line for line in lines(output, "journey")}


def lines(output: str, word: str) -> list[dict[str, Any]]:
    """Return what a client's script told in lines of ``word {json}``."""
    told = (line.partition(" ")[2] for line in output.splitlines() if line.startswith(f"{word} "))
    return [json.loads(each) for each in told]
