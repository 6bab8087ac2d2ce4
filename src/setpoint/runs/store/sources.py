"""All SQL about which numbered batches are in, so that one sent again is written once."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, case, select

from setpoint.db.upsert import upsert
from setpoint.runs.store.pairs import among
from setpoint.runs.tables import run_sources as s

Source = tuple[int, str]  #: run key, the source's name


def positions(conn: Connection, wanted: Sequence[Source]) -> dict[Source, int]:
    """Return the highest position that each source has reached, where it has written at all."""
    found: dict[Source, int] = {}
    for here in among(wanted, s.c.run_key, s.c.source):
        query = select(s.c.run_key, s.c.source, s.c.position).where(here)
        found.update({(run, name): position for run, name, position in conn.execute(query)})
    return found


def put(conn: Connection, reached: Mapping[Source, int]) -> None:
    """Write how far sources have come."""
    rows = [
        {"run_key": run, "source": name, "position": position}
        for (run, name), position in sorted(reached.items())
    ]
    upsert(conn, s, rows, update=_furthest)


def _furthest(new: Any) -> dict[str, Any]:
    return {"position": case((new.position > s.c.position, new.position), else_=s.c.position)}
