"""Stores with nothing in them, for tests: migrated once a session, then copied or emptied."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy.engine import make_url

from setpoint.db.engine import connect
from setpoint.db.migrate import migrate

#: What PostgreSQL does for the day the power fails. Nothing here outlives the tests.
_CAREFUL = ("fsync", "synchronous_commit", "full_page_writes")
#: Waited for, ten seconds at most.
_LEAVE = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
_COUNTERS = """
SELECT sequencename, coalesce(last_value, start_value), last_value IS NOT NULL
FROM pg_sequences WHERE schemaname = 'public'
"""


def migrated(url: str) -> str:
    """Bring the database at `url` to this version's schema, the long way."""
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    return url


def file_url(home: Path) -> str:
    """Return the URL of the database of a store in the folder `home`, as SQLite."""
    return f"sqlite:///{home / 'setpoint.db'}"


def is_open(home: Path) -> bool:
    """Return whether this process has the file of the store in the folder `home` open."""
    file = str(home.resolve() / "setpoint.db")
    return any(found.path == file for found in psutil.Process().open_files())


class Files:
    """Copies of one migrated file of SQLite."""

    def __init__(self, folder: Path) -> None:
        migrated(file_url(folder))
        self._file = folder / "setpoint.db"

    def empty(self, home: Path) -> str:
        """Lay an empty store into the folder `home`; return the URL of its database."""
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._file, home / self._file.name)
        return file_url(home)


class Databases:
    """Databases of one PostgreSQL.

    Migrating one takes most of a second, copying it a good part of that, emptying it milliseconds:
    all who ask for an empty one get the same, one after the other. It has another name each time,
    so that whoever lives longer than a test writes into nobody else's store.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._admin = psycopg.connect(server.get_uri(), autocommit=True)
        for setting in _CAREFUL:
            self._admin.execute(SQL("ALTER SYSTEM SET {} = off").format(Identifier(setting)))
        self._admin.execute("SELECT pg_reload_conf()")
        self._numbers = itertools.count()
        self._shared = ""
        self._emptying = Composed([])

    def blank(self) -> str:
        """Return the URL of a database without tables."""
        return self._url(self._create())

    def empty(self) -> str:
        """Return the URL of a migrated database; the one given before is no longer there."""
        if not self._shared:
            self._shared = self._create()
            with psycopg.connect(migrated(self._url(self._shared))) as connection:
                self._emptying = _emptying(connection)
        was, now = Identifier(self._shared), self._name()
        self._admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(was))
        self._admin.execute(_LEAVE, (self._shared,))
        self._admin.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(was, Identifier(now)))
        self._admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(now)))
        self._shared = now
        with psycopg.connect(self._url(now)) as connection:
            connection.execute(self._emptying)
        return self._url(now)

    @contextmanager
    def copy(self, url: str) -> Iterator[str]:
        """Give the URL of a copy of the database at `url`, to which nobody is connected."""
        name, its = Identifier(copied := self._name()), Identifier(make_url(url).database or "")
        how = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self._admin.execute(how.format(name, its))
        yield self._url(copied)
        self._admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def close(self) -> None:
        self._admin.close()

    def _create(self) -> str:
        name = self._name()
        self._admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return name

    def _name(self) -> str:
        return f"test_{next(self._numbers)}"

    def _url(self, name: str) -> str:
        url: str = self._server.get_uri(database=name)
        return url


def _emptying(connection: "psycopg.Connection[Any]") -> Composed:
    """Return statements that bring every table and counter back to what they are now."""
    connection.execute("CREATE SCHEMA kept")
    steps: list[Composed | SQL] = [SQL("SET session_replication_role = replica")]  # in any order
    for (table,) in connection.execute(_TABLES).fetchall():
        here, kept = Identifier("public", table), Identifier("kept", table)
        connection.execute(SQL("CREATE TABLE {} AS TABLE {}").format(kept, here))
        steps.append(SQL("DELETE FROM {}").format(here))
        if connection.execute(SQL("SELECT 1 FROM {} LIMIT 1").format(kept)).fetchone():
            steps.append(SQL("INSERT INTO {} TABLE {}").format(here, kept))
    for counter, value, used in connection.execute(_COUNTERS).fetchall():
        steps.append(SQL("SELECT setval({}, {}, {})").format(counter, value, used))
    return SQL("; ").join(steps)
