"""Whose files the tables and the prediction log are: one folder of one machine has them all.

A database may be shared by servers on many machines, these files are not. So the first who
makes any writes down where they lie, and whoever needs them from another folder is told. The
folder may move: what makes it the same is a mark in it, not its name.
"""

import fcntl
import secrets
import socket
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from setpoint.config import Settings
from setpoint.data import store
from setpoint.data.entities import Owner
from setpoint.errors import Conflict

_MARK = "data-home"


def claim(engine: Engine, settings: Settings, now: datetime) -> None:
    """Let the files lie in this home from now on; doing it again changes nothing.

    Raises:
        Conflict: If they lie elsewhere.
    """
    with engine.execution_options(setpoint_reads=True).begin() as conn:
        found = store.owner(conn)
    here = _here(settings, now, _mark(settings.home, make=found is None))
    if found is None or (found.mark == here.mark and _place(found) != _place(here)):
        with engine.begin() as conn:
            store.claim(conn, here)
            store.moved(conn, here)
    with engine.execution_options(setpoint_reads=True).begin() as conn:
        require(conn, settings)


def require(conn: Connection, settings: Settings) -> bool:
    """Tell whether the files lie in this home; they do not while there are none.

    Raises:
        Conflict: If they lie elsewhere.
    """
    found = store.owner(conn)
    if found is None:
        return False
    if found.mark != _mark(settings.home):
        raise Conflict(
            "the datasets and the prediction log of this database are files of another folder",
            where=f"{found.folder} on {found.host}, not {settings.home} on {socket.gethostname()}",
            hint="run it there, or move that folder here; runs and the registry are shared by "
            "any number of: setpoint server",
        )
    return True


def _here(settings: Settings, now: datetime, mark: str) -> Owner:
    host, folder = socket.gethostname(), str(settings.home)
    return Owner(mark=mark, host=host, folder=folder, claimed_at=now)


def _place(owner: Owner) -> tuple[str, str]:
    return owner.host, owner.folder


def _mark(home: Path, *, make: bool = False) -> str:
    """Return the mark of a folder; empty if it has none and none is to be made."""
    path = home / _MARK
    found = path.read_text() if path.exists() else ""
    if found or not make:
        return found
    home.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # of several who come at once, the first makes it
        file.seek(0)
        found = file.read()
        if not found:
            found = secrets.token_hex(16)
            file.write(found)
    return found
