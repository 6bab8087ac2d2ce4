"""Which artifact store a database's files are in: every server of one database needs that one.

The first server leaves a mark there, an object like any other. So the store may move, and may
be reached by another name: who copies its objects takes the mark along.
"""

import secrets
import socket
from datetime import datetime

from sqlalchemy import Connection, Engine, select, update

from setpoint.artifacts.contract import ObjectStore, address_of
from setpoint.artifacts.files import FileStore
from setpoint.artifacts.store import open_store
from setpoint.artifacts.tables import artifact_home
from setpoint.db.local import LocalBackend
from setpoint.db.upsert import upsert
from setpoint.errors import Conflict


def require(backend: LocalBackend) -> None:
    """Refuse another store than the one the database's files are in; the first is that one.

    Raises:
        Conflict: If it is another.
        Unavailable: If it cannot be reached, or refuses.
    """
    store, engine = open_store(backend.settings), backend.engine
    here = _place(store)
    next(store.addresses(), None)  # what is wrong with it is told now, not at the first file
    with backend.reading() as conn:
        found = _read(conn)
    mark, place = found or _claimed(engine, here, backend.clock.now())
    if place == here:
        store.put(mark.encode())  # the first time; or somebody emptied the store
    elif not store.has(address_of(mark.encode())):
        raise Conflict(
            "the artifacts of this database are in another store",
            where=f"{place}, not {here}",
            hint="name that one in SETPOINT_ARTIFACT_URL, or copy its objects here before",
        )
    else:
        with engine.begin() as conn:
            conn.execute(update(artifact_home).values(place=here))


def _claimed(engine: Engine, here: str, now: datetime) -> tuple[str, str]:
    """Write down that the files are here, unless somebody was faster; return what is written."""
    mark = f"artifacts of database {secrets.token_hex(16)}\n"
    with engine.begin() as conn:
        upsert(conn, artifact_home, [{"id": 1, "mark": mark, "place": here, "claimed_at": now}])
        written = _read(conn)
    assert written is not None  # noqa: S101 - it was there, or is now
    return written


def _read(conn: Connection) -> tuple[str, str] | None:
    row = conn.execute(select(artifact_home.c.mark, artifact_home.c.place)).one_or_none()
    return None if row is None else (row.mark, row.place)


def _place(store: ObjectStore) -> str:
    """Return where a store is, in words that no other store has."""
    return f"{store} on {socket.gethostname()}" if isinstance(store, FileStore) else str(store)
