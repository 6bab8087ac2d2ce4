"""Names of metrics, params and tags as the numbers that stand for them in every other table."""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from setpoint.db.upsert import upsert
from setpoint.runs.tables import run_names

_BATCH = 10_000  #: names a statement; SQLite takes 32,766 variables
_KNOWN = select(run_names.c.name, run_names.c.id).where(
    run_names.c.name.in_(bindparam("names", expanding=True))
)


def plain(text: str) -> str:
    """Return a text that both databases take: without NUL, and valid as UTF-8."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def known(conn: Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of those names that have one."""
    wanted = sorted({plain(name) for name in names})
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _BATCH):
        some = {"names": wanted[start : start + _BATCH]}
        found.update((name, number) for name, number in conn.execute(_KNOWN, some))
    return found


def numbers(conn: Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of names, giving one to each that is new."""
    wanted = {plain(name) for name in names}
    found = known(conn, wanted)
    new = sorted(wanted - found.keys())  # in one order, or two writers could wait for each other
    if new:
        upsert(conn, run_names, [{"name": name} for name in new], on=["name"])
        found.update(known(conn, new))
    return found


def names_of(conn: Connection, numbers: Iterable[int]) -> dict[int, str]:
    """Return the names that numbers stand for."""
    wanted = sorted(set(numbers))
    found: dict[int, str] = {}
    for start in range(0, len(wanted), _BATCH):
        query = select(run_names.c.id, run_names.c.name)
        some = query.where(run_names.c.id.in_(wanted[start : start + _BATCH]))
        found.update((number, name) for number, name in conn.execute(some))
    return found
