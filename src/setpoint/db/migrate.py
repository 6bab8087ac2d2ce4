"""Bringing a database to this version's schema."""

import importlib
import pkgutil

from sqlalchemy import Engine, text

import setpoint
from setpoint.db.schema import metadata

_LOCK = 7_311_402_026  #: any number; all Setpoint processes use this one


def migrate(engine: Engine) -> None:
    """Create what is missing; of several processes at once, one does it and the rest wait."""
    for module in pkgutil.iter_modules(setpoint.__path__):
        if module.ispkg:
            try:
                importlib.import_module(f"setpoint.{module.name}.tables")
            except ModuleNotFoundError as error:
                if error.name != f"setpoint.{module.name}.tables":
                    raise
    with engine.begin() as conn:
        if engine.dialect.name == "postgresql":
            conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        metadata.create_all(conn)
