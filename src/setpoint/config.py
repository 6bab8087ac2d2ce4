"""The one reader of the environment: everything else is handed a `Settings`."""

import getpass
import os
from pathlib import Path

from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True):
    """Where a store lives and who is asking."""

    home: Path  #: the folder that holds everything: ``.setpoint`` by default
    database_url: str  #: SQLAlchemy URL; SQLite inside `home` unless told otherwise
    actor: str  #: recorded on every event, e.g. ``ada`` or ``controller``
    url: str | None = None  #: the server that runs of scripts go to; without one, `home`
    offline: bool = False  #: whether such runs wait on this machine for ``setpoint sync``

    @property
    def objects(self) -> Path:
        """Content-addressed artifacts."""
        return self.home / "objects"

    @property
    def tables(self) -> Path:
        """Delta Lake tables, one folder a dataset."""
        return self.home / "tables"

    @property
    def log(self) -> Path:
        """Prediction and label log."""
        return self.home / "log"


def settings(
    home: Path | str | None = None,
    *,
    database_url: str | None = None,
    actor: str | None = None,
    url: str | None = None,
    offline: bool | None = None,
) -> Settings:
    """Resolve settings: an argument wins over the environment, that over the default.

    Environment: ``SETPOINT_HOME``, ``SETPOINT_DATABASE_URL``, ``SETPOINT_ACTOR``,
    ``SETPOINT_URL``, ``SETPOINT_OFFLINE``.
    """
    folder = Path(home or os.environ.get("SETPOINT_HOME") or ".setpoint").absolute()
    database = database_url or os.environ.get("SETPOINT_DATABASE_URL")
    return Settings(
        home=folder,
        database_url=database or f"sqlite:///{folder / 'setpoint.db'}",
        actor=actor or os.environ.get("SETPOINT_ACTOR") or _login(),
        url=url or os.environ.get("SETPOINT_URL") or None,
        offline=_said(os.environ.get("SETPOINT_OFFLINE")) if offline is None else offline,
    )


def environment(found: Settings) -> dict[str, str]:
    """Return the environment in which a process of ours has the same settings."""
    said = {"SETPOINT_HOME": str(found.home), "SETPOINT_DATABASE_URL": found.database_url}
    return {**os.environ, **said, "SETPOINT_ACTOR": found.actor}


def _said(value: str | None) -> bool:
    return (value or "").strip().lower() not in {"", "0", "false", "no", "off"}


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container user without a passwd entry
        return "unknown"
