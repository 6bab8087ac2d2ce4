"""A registry from before it knew of the world elsewhere is brought forward whole."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import setpoint
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.engine import connect
from setpoint.db.local import open_local
from setpoint.models import service
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry

_VERSION = """
INSERT INTO model_versions
  (model, number, run_id, why, created_at, flavor, artifact, signature, metrics, card, spec,
   datasets, size)
VALUES
  ('late', :number, :run, 'first', 1000000, 'lightgbm', 'b3:0', '{"inputs": []}',
   '{"auc": 0.7}', '', '', '{"flights": 1}', 9)
"""


@pytest.fixture
def database_url(blank_url: str) -> str:
    """Nothing is there before it is migrated."""
    return blank_url


@pytest.fixture
def old(settings: Settings) -> Settings:
    """A database of the first schema, with two versions and an alias."""
    settings.home.mkdir(parents=True)
    engine = connect(settings.database_url)
    with engine.begin() as conn:
        config = Config()
        folder = Path(setpoint.__path__[0]) / "db" / "migrations"
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
    with engine.begin() as conn:
        conn.execute(text("INSERT INTO models VALUES ('late', 2, 1000000)"))
        for number in (1, 2):
            conn.execute(text(_VERSION), {"number": number, "run": f"r{number}"})
        conn.execute(text("INSERT INTO model_aliases VALUES ('late', 'live', 2)"))
    engine.dispose()
    return settings


def test_versions_and_aliases_survive_and_can_do_what_new_ones_can(
    old: Settings, clock: ManualClock
) -> None:
    backend = open_local(old, clock)
    shown = backend.call(service.show, service.ShowModel(model="late"))
    assert (shown.aliases, [v.number for v in shown.versions]) == ({"live": 2}, [2, 1])
    assert shown.versions[0].metrics == {"auc": 0.7}
    assert shown.versions[0].updated_at == shown.versions[0].created_at
    cmd = commands.AddVersion(model="late", source="s3://b/m", run_id="r1")
    backend.call(registry.add_version, cmd)
    assert backend.call(registry.add_version, cmd).version.number == 4
    backend.call(registry.delete_version, commands.DeleteVersion(model="late", number=1))
    backend.engine.dispose()
