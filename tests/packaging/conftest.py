from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.packaging import made
from tests.stores import Files

from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.models.entities import ModelVersion
from setpoint.packaging.versions import version_of


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, file_stores: Files) -> Iterator[LocalBackend]:
    """A store with a version of ``late``, for the session: what is kept of builds is kept."""
    home = tmp_path_factory.mktemp("house")
    settings = Settings(home=home, database_url=file_stores.empty(home), actor="ada")
    backend = open_local(settings, ManualClock(made.NOON))
    made.registered(backend, "late", made.tree())
    yield backend
    backend.engine.dispose()


@pytest.fixture(scope="session")
def late(house: LocalBackend) -> ModelVersion:
    """A tree, compiled."""
    return version_of(house, "late")


@pytest.fixture(scope="session")
def objects(house: LocalBackend) -> ObjectStore:
    return open_store(house.settings)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A layout that passes for a system with a Python."""
    return made.base(tmp_path / "base")
