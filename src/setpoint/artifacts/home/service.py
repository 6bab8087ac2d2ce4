"""Refuse a server another artifact store than the one its database's files are in.

The first server leaves a mark there, an object like any other. So the store may move, and may
be reached by another name: who copies its objects takes the mark along.
"""

import secrets
import socket

from setpoint.artifacts.contract import ObjectStore, address_of
from setpoint.artifacts.files import FileStore
from setpoint.artifacts.home import store as written
from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict


def require(backend: LocalBackend) -> None:
    """Refuse another store than the one the database's files are in; the first is that one.

    Raises:
        Conflict: If it is another.
        Unavailable: If it cannot be reached, or refuses.
    """
    store = open_store(backend.settings)
    next(store.addresses(), None)  # what is wrong with it is told now, not at the first file
    here = _place(store)
    with backend.reading() as conn:
        found = written.read(conn)
    mark, place = found or _claimed(backend, here)
    if place == here:
        store.put(mark.encode())  # the first time; or somebody emptied the store
    elif not store.has(address_of(mark.encode())):
        raise Conflict(
            "the artifacts of this database are in another store",
            where=f"{place}, not {here}",
            hint="name that one in SETPOINT_ARTIFACT_URL, or copy its objects here before",
        )
    else:
        with backend.engine.begin() as conn:
            written.moved(conn, here)


def _claimed(backend: LocalBackend, here: str) -> tuple[str, str]:
    """Write down that the files are here, unless somebody was faster; return what is written."""
    mark = f"artifacts of database {secrets.token_hex(16)}\n"
    with backend.engine.begin() as conn:
        written.claim(conn, mark, here, backend.clock.now())
        return written.read(conn) or (mark, here)


def _place(store: ObjectStore) -> str:
    """Return where a store is, in words that no other store has."""
    return f"{store} on {socket.gethostname()}" if isinstance(store, FileStore) else str(store)
