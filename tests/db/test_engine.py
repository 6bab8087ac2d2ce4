"""Databases by URL: what is refused, and many processes in one SQLite file."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from setpoint.db import engine as engines
from setpoint.db.engine import connect
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid, MissingExtra, SetpointError, Unavailable
from setpoint.events.store import head, record

SOURCES = Path(__file__).parents[2] / "src"

WRITES = """
import sys
from sqlalchemy import text
from setpoint.db.engine import connect
engine = connect(sys.argv[1])
for _ in range(200):
    with engine.begin() as conn:  # reads first: a deferred transaction would fail here
        (value,) = conn.execute(text("SELECT value FROM counter")).one()
        conn.execute(text("UPDATE counter SET value = :value"), {"value": value + 1})
"""


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("not a url", Invalid, "cannot be read"),
        ("mysql://host/name", Invalid, "mysql is not a database Setpoint can use"),
        ("sqlite:////proc/none/x.db", Unavailable, "cannot make the folder /proc/none"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_error(
    url: str, kind: type[SetpointError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        connect(url)
    assert caught.value.hint


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra) as caught:
        connect("postgresql://localhost/none")
    assert "setpoint[postgres]" in caught.value.hint


def test_a_database_that_is_away_is_unavailable_and_its_password_is_not_told() -> None:
    engine = connect("postgresql://ada:secret@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="the database failed") as caught, engine.begin():
        pass
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is a letter to my aunt" * 40)
    engine = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(Unavailable, match="not a database"), engine.begin():
        pass


def test_a_folder_in_the_place_of_the_file_is_unavailable(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}")
    with pytest.raises(Unavailable), engine.begin():
        pass


def test_four_processes_write_one_sqlite_file_without_an_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'x.db'}"
    engine = connect(url)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE counter (value INTEGER)"))
        conn.execute(text("INSERT INTO counter VALUES (0)"))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITES, url],
            env={"PYTHONPATH": str(SOURCES)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [writer.communicate(timeout=60)[1] for writer in writers]
    assert said == [""] * 4
    with engine.begin() as conn:
        assert conn.execute(text("SELECT value FROM counter")).scalar_one() == 800
    engine.dispose()


def test_reading_goes_on_while_somebody_writes(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'x.db'}")
    reading = engine.execution_options(setpoint_reads=True)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE t (value INTEGER)"))
    with engine.begin() as writer:
        writer.execute(text("INSERT INTO t VALUES (1)"))
        with reading.begin() as reader:
            assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
    with reading.begin() as reader:
        assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 1
    engine.dispose()


def test_a_writer_waits_for_the_one_before(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'x.db'}")
    order: list[str] = []
    began = threading.Event()

    def second() -> None:
        began.set()
        with engine.begin():
            order.append("second")

    with engine.begin():
        thread = threading.Thread(target=second)
        thread.start()
        began.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    engine.dispose()


def test_every_connection_has_its_pragmas(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.begin() as conn:
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    assert all("=" in pragma for pragma in engines._PRAGMAS)
    engine.dispose()


def test_who_reads_sees_one_moment_while_others_write(backend: LocalBackend) -> None:
    def add() -> None:
        with backend.engine.begin() as conn:
            record(backend.context(conn), "it.happened", "a:b")

    add()
    with backend.reading() as conn:
        before = head(conn)
        add()
        assert head(conn) == before
    with backend.reading() as conn:
        assert head(conn) == before + 1


def test_a_writer_sees_what_others_wrote_meanwhile(postgres: Any, tmp_path: Path) -> None:
    engine = connect(postgres.get_uri())
    with engine.execution_options(setpoint_reads=True).begin() as conn:
        assert conn.execute(text("SHOW transaction_isolation")).scalar() == "repeatable read"
    with engine.begin() as conn:  # the same connection, from the pool
        assert conn.execute(text("SHOW transaction_isolation")).scalar() == "read committed"
    engine.dispose()
