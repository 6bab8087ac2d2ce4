"""A database is brought to this version's schema by whoever comes first."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import setpoint
from setpoint.config import Settings
from setpoint.db.engine import connect
from setpoint.db.migrate import HEAD, migrate
from setpoint.db.schema import metadata
from setpoint.errors import Conflict, Unavailable

SOURCES = Path(__file__).parents[2] / "src"
OPENS = "import sys; from setpoint.db import engine, migrate; "
OPENS += "migrate.migrate(engine.connect(sys.argv[1]))"


@pytest.fixture
def database_url(blank_url: str) -> str:
    """Nothing is there before it is migrated."""
    return blank_url


def test_every_table_is_there_and_doing_it_again_changes_nothing(settings: Settings) -> None:
    engine = connect(settings.database_url)
    migrate(engine)
    first = set(inspect(engine).get_table_names())
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


def test_the_migrations_make_what_the_code_expects(settings: Settings) -> None:
    root = Path(setpoint.__path__[0])
    for file in root.rglob("tables.py"):
        importlib.import_module(
            ".".join(("setpoint", *file.relative_to(root).with_suffix("").parts))
        )
    engine = connect(settings.database_url)
    migrate(engine)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()


def test_a_store_of_a_newer_version_is_refused_unharmed(settings: Settings) -> None:
    engine = connect(settings.database_url)
    migrate(engine)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="written by a newer Setpoint"):
        migrate(engine)
    engine.dispose()


def test_a_database_that_is_away_is_one_clear_error() -> None:
    engine = connect("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(Unavailable) as caught:
        migrate(engine)
    assert "secret" not in str(caught.value)
