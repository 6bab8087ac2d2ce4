"""The log of SQLite is copied back beside the writer, and begins anew when it has grown long."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.cli.running import until

from setpoint.db.checkpoints import Checkpoints
from setpoint.db.engine import connect

MB = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{file}")
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (x BLOB)")
    yield engine
    engine.dispose()


def write(engine: Engine, size: int) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO t VALUES (zeroblob(?))", (size,))


def test_what_was_written_reaches_the_file_without_a_commit(engine: Engine, file: Path) -> None:
    with Checkpoints(engine) as checkpoints:
        write(engine, 2 * MB)
        assert file.stat().st_size < MB
        checkpoints.written()
        until(lambda: file.stat().st_size > 2 * MB, "the log was copied back")


def test_a_long_log_begins_anew(engine: Engine, file: Path) -> None:
    log = file.with_name("store.db-wal")
    with Checkpoints(engine) as checkpoints:
        write(engine, 34 * MB)
        grown = log.stat().st_size
        until(lambda: _begins_anew(engine, checkpoints, log, grown), "the log began anew")


def _begins_anew(engine: Engine, checkpoints: Checkpoints, log: Path, grown: int) -> bool:
    """Tell whether another page went to the log's beginning: its end stays where it was."""
    checkpoints.written()
    before = log.stat().st_size
    write(engine, 1)
    return log.stat().st_size == before >= grown
