"""A server on a real port, over an empty store or over one with ten months of life."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import uvicorn
from starlette.types import ASGIApp
from tests.server import seed
from tests.server.arms import split_for_ten_days

from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.server import listening
from setpoint.server.app import create_app


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Run `app` on a free port of this machine; give its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(listening.config(app))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def empty(backend: LocalBackend) -> Iterator[str]:
    """The address of a server over an empty store."""
    with serving(create_app(backend)) as url:
        yield url


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """A store with ten months of life. Tests that share it change nothing."""
    home = tmp_path_factory.mktemp("lived")
    clock = ManualClock(seed.BIRTH)
    url = f"sqlite:///{home / 'setpoint.db'}"
    backend = open_local(Settings(home=home, database_url=url, actor="ada"), clock)
    seed.seed(backend, clock)
    split_for_ten_days(backend, clock)
    yield backend
    backend.engine.dispose()


@pytest.fixture(scope="session")
def site(lived: LocalBackend) -> Iterator[str]:
    """The address of a server over `lived`."""
    with serving(create_app(lived)) as url:
        yield url


@pytest.fixture
def young(backend: LocalBackend, clock: ManualClock) -> LocalBackend:
    """A store of its own, on both kinds of database, with two months of life."""
    seed.seed(backend, clock, days=70)
    clock.advance(timedelta(hours=1))
    return backend
