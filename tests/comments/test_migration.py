"""What was said about models before anything else could be talked about is still there."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import setpoint
from setpoint.comments.service import AboutSubject, ls
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.engine import connect
from setpoint.db.local import open_local


@pytest.fixture
def database_url(blank_url: str) -> str:
    """A database without tables: what is tried is how they come to be."""
    return blank_url


def test_comments_on_models_and_versions_are_brought_forward(
    settings: Settings, clock: ManualClock
) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = connect(settings.database_url)
    with engine.begin() as conn:
        config = Config()
        folder = Path(setpoint.__path__[0]) / "db" / "migrations"
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = conn
        command.upgrade(config, "0010")
    with engine.begin() as conn:
        for name, number in (("cmt_1", 0), ("cmt_2", 12)):
            row = {"id": name, "number": number}
            insert = (
                "INSERT INTO model_comments VALUES (:id, 'late', :number, 'ada', 7, 'so', NULL)"
            )
            conn.execute(text(insert), row)
    engine.dispose()
    backend = open_local(settings, clock)
    for name, subject in (("cmt_1", "model:late"), ("cmt_2", "version:late/12")):
        (found,) = backend.call(ls, AboutSubject(subject=subject)).comments
        assert (found.id, found.actor, found.text) == (name, "ada", "so")
    backend.engine.dispose()
