"""Opening a database: SQLite in one file, or PostgreSQL by a URL."""

import re
import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from setpoint.errors import Invalid, MissingExtra, Unavailable

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "cache_size=-65536",  # 64 MB: the index of predictions is written all over
    "wal_autocheckpoint=24000",  # pages, 96 MB; servers copy back before (see `checkpoints`)
)
_URLS = "use sqlite:///path/to/file.db or postgresql://user@host/name"


def connect(url: str) -> Engine:
    """Return an engine for `url`; no table is created or migrated.

    SQLite runs in WAL mode, and every writing transaction begins IMMEDIATE: a deferred one
    that turns into a writer fails with SQLITE_BUSY whatever the time-out.

    Raises:
        Invalid: If the URL names no database that Setpoint knows.
        Unavailable: If the folder of a SQLite file cannot be made.
        MissingExtra: If PostgreSQL's driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Invalid("the database URL cannot be read", hint=_URLS) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend == "postgresql":
        return _postgresql(parsed)
    raise Invalid(f"{backend} is not a database Setpoint can use", hint=_URLS)


def _postgresql(url: URL) -> Engine:
    try:
        import psycopg  # noqa: PLC0415 - an extra

        engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ModuleNotFoundError:
        raise MissingExtra(
            "PostgreSQL needs its driver", hint="pip install 'setpoint[postgres]'"
        ) from None
    _tell_of_trouble(engine, url.render_as_string(hide_password=True))

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # Who reads sees one moment, as on SQLite: others move what they merge meanwhile.
        reading = connection.get_execution_options().get("setpoint_reads", False)
        level = psycopg.IsolationLevel.REPEATABLE_READ if reading else None
        connection.connection.driver_connection.isolation_level = level

    return engine


def _tell_of_trouble(engine: Engine, name: str) -> None:
    """Make a database that is away, full, locked or damaged an `Unavailable`."""

    @event.listens_for(engine, "handle_error")
    def tell(context: ExceptionContext) -> None:
        error = context.original_exception
        damaged = type(error) is sqlite3.DatabaseError  # "file is not a database"
        ours = "no such column" in str(error) or "syntax error" in str(error)
        if (
            context.is_pre_ping
            or ours
            or not (damaged or isinstance(context.sqlalchemy_exception, OperationalError))
        ):
            return
        raise Unavailable(
            f"the database failed: {' '.join(str(error).split())[:200]}",
            where=name,
            hint="it may be full, damaged, read-only or away; what was committed is kept",
        ) from error


def _sqlite(url: URL) -> Engine:
    if url.database:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"cannot make the folder {folder}",
                where=error.strerror or "",
                hint="choose a folder you may write to with --home DIR",
            ) from None
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
    _tell_of_trouble(engine, str(url.database))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not the driver
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        # SQLite's own lower() knows ASCII only, and it has no regular expressions.
        connection.create_function("lower", 1, _lower, deterministic=True)
        connection.create_function("regexp", 2, _matches, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("setpoint_reads", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _lower(text: Any) -> str | None:
    return None if text is None else str(text).lower()


def _matches(pattern: str, text: Any) -> bool | None:
    return None if text is None else _compiled(pattern).search(str(text)) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
