"""A database is brought to this version's schema by whoever comes first."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import inspect

from setpoint.config import Settings
from setpoint.db.engine import connect
from setpoint.db.migrate import migrate
from setpoint.db.schema import metadata

SOURCES = Path(__file__).parents[2] / "src"
OPENS = "import sys; from setpoint.db import engine, migrate; "
OPENS += "migrate.migrate(engine.connect(sys.argv[1]))"


def test_every_table_is_there_and_doing_it_again_changes_nothing(settings: Settings) -> None:
    engine = connect(settings.database_url)
    migrate(engine)
    first = set(inspect(engine).get_table_names())
    assert first >= set(metadata.tables)
    assert {"specs", "jobs", "predictions", "releases", "events"} <= first
    migrate(engine)
    assert set(inspect(engine).get_table_names()) == first
    engine.dispose()


def test_processes_that_open_a_new_database_at_once_do_not_collide(settings: Settings) -> None:
    some = [
        subprocess.Popen(
            [sys.executable, "-c", OPENS, settings.database_url],
            env={"PYTHONPATH": str(SOURCES)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [one.communicate(timeout=60)[1] for one in some] == [""] * 3
    engine = connect(settings.database_url)
    assert {"specs", "jobs", "predictions"} <= set(inspect(engine).get_table_names())
    engine.dispose()
