"""Bringing a database to this version's schema: forward only, once, whoever comes first."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from setpoint.errors import Conflict, Unavailable

HEAD = "0021"  #: the schema this code works with; a test holds it against the migrations
_LOCK = 7_236_811_942  # any number of ours: one migration at a time on PostgreSQL


def migrate(engine: Engine) -> None:
    """Create the schema or upgrade it; costs one query where there is nothing to do.

    Raises:
        Conflict: If a newer Setpoint wrote this database.
        Unavailable: If the database cannot be reached or written.
    """
    try:
        with engine.execution_options(setpoint_reads=True).begin() as conn:
            if _revision(conn) == HEAD:
                return
        with engine.begin() as conn:
            _upgrade(conn)
    except OperationalError as error:
        raise Unavailable(
            f"the database at {engine.url.render_as_string(hide_password=True)} cannot be used",
            where=str(error.orig),
            hint="check that it can be reached and written, and that the disk is not full",
        ) from None


def _upgrade(conn: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - needed on the first start only
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    if conn.dialect.name == "postgresql":
        conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = conn
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = _revision(conn)
    if found is not None and found not in known:
        raise Conflict(
            f"this store was written by a newer Setpoint (schema {found})",
            hint="upgrade Setpoint, or choose another --home DIR",
        )
    command.upgrade(config, "head")


def _revision(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    found: str | None = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
