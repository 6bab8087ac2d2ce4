"""Bringing a database to this version's schema."""

import importlib
import pkgutil

from sqlalchemy import Engine

import setpoint
from setpoint.db.schema import metadata


def migrate(engine: Engine) -> None:
    for module in pkgutil.iter_modules(setpoint.__path__):
        if module.ispkg:
            try:
                importlib.import_module(f"setpoint.{module.name}.tables")
            except ModuleNotFoundError as error:
                if error.name != f"setpoint.{module.name}.tables":
                    raise
    metadata.create_all(engine)
