"""A store opened in this process: operations run here, each in a transaction of its own."""

from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy import Connection, Engine

from setpoint.config import Settings
from setpoint.core.clock import Clock, clock_of
from setpoint.core.operations import Context, Operation
from setpoint.db.engine import connect
from setpoint.db.migrate import migrate
from setpoint.errors import SetpointError, Unavailable

C = TypeVar("C")
R = TypeVar("R")


class LocalBackend:
    """Runs operations in this process, each in one transaction of its own."""

    def __init__(self, engine: Engine, settings: Settings, clock: Clock | None = None) -> None:
        self.engine = engine
        self._reader = engine.execution_options(setpoint_reads=True)
        self.settings = settings
        self.clock = clock or clock_of(settings.home)

    def call(self, op: Operation[C, R], cmd: C) -> R:
        with self.reading() if op.reads else self.engine.begin() as conn:
            return op(self.context(conn), cmd)

    def reading(self) -> AbstractContextManager[Connection]:
        """Return a transaction that only reads: it waits for no writer, and none for it."""
        return self._reader.begin()

    def context(self, conn: Connection) -> Context:
        """Return the context of a transaction that the caller opened."""
        return Context(
            conn=conn,
            actor=self.settings.actor,
            now=self.clock.now(),
            settings=self.settings,
        )


def open_local(settings: Settings, clock: Clock | None = None) -> LocalBackend:
    """Open (and create or upgrade) the store of `settings` in this process."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"cannot make the folder {settings.home}",
            where=error.strerror or "",
            hint="choose a folder you may write to with --home DIR",
        ) from None
    engine = connect(settings.database_url)
    try:
        migrate(engine)
    except SetpointError:
        engine.dispose()
        raise
    return LocalBackend(engine, settings, clock)
