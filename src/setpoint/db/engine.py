"""Opening a database: SQLite in one file, or PostgreSQL by a URL."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from setpoint.errors import Invalid, MissingExtra, Unavailable

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
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ModuleNotFoundError:
        raise MissingExtra(
            "PostgreSQL needs its driver", hint="pip install 'setpoint[postgres]'"
        ) from None


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

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not the driver
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("setpoint_reads", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
