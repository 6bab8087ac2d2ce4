"""The hash chain over the record: sealed after the fact, verified at any time.

Recording an event is one insert in its author's transaction. One sealer at a time then
gives each new event the next position and the hash of (previous hash, its content), so
writers in many processes never wait for each other. What is sealed cannot be changed,
removed or reordered unnoticed; an event recorded a moment ago is not yet protected.
"""

from typing import Any

from blake3 import blake3
from msgspec import Struct
from sqlalchemy import Connection, Select, func, insert, select

from setpoint.core.clock import to_micros
from setpoint.db.schema import encode
from setpoint.events.tables import event_seals, events

_GENESIS = bytes(32)
_LOOK_BACK = 10_000


class Fault(Struct, frozen=True, kw_only=True):
    """One line of the record that is not as it was sealed."""

    seq: int
    what: str  #: ``changed``, ``removed`` or ``reordered``


class ChainReport(Struct, frozen=True, kw_only=True):
    """The outcome of verifying the whole chain."""

    sealed: int  #: events under seal
    unsealed: int  #: events recorded since, not yet protected
    head: str  #: hash of the last seal, hex; keep a copy elsewhere to detect a cut tail
    faults: list[Fault]

    @property
    def intact(self) -> bool:
        """Whether nothing was changed, removed or reordered."""
        return not self.faults


def seal(conn: Connection) -> int:
    """Seal what is not sealed yet, in the caller's transaction; return how many.

    Call it from one place at a time (the controller, under its lease). If two sealers do
    meet, the position is the primary key: the second one's transaction fails, unharmed.
    """
    newest = event_seals.c.position.desc()
    last = conn.execute(select(event_seals).order_by(newest).limit(1)).one_or_none()
    position, previous = (last.position, last.hash) if last else (0, _GENESIS)
    rows = []
    for event in conn.execute(_unsealed()):
        position += 1
        previous = _link(previous, event, event.seq)
        rows.append({"position": position, "seq": event.seq, "hash": previous})
    if rows:
        conn.execute(insert(event_seals), rows)
    return len(rows)


def verify(conn: Connection) -> ChainReport:
    """Walk the whole chain and name each line that is not as it was sealed.

    A line that fails does not hide the ones behind it: each link is computed from the
    *stored* hash before it.
    """
    columns = (
        event_seals.c.position,
        event_seals.c.seq.label("sealed"),
        event_seals.c.hash,
    )
    both = event_seals.join(events, event_seals.c.seq == events.c.seq, isouter=True)
    query = select(*columns, events).select_from(both).order_by(event_seals.c.position)
    removed, broken, previous, count, gaps = [], [], _GENESIS, 0, 0
    for row in conn.execute(query):
        count += 1
        if row.position != count + gaps:
            gaps = row.position - count
            removed.append(Fault(seq=row.sealed, what="reordered"))
        elif row.seq is None:
            removed.append(Fault(seq=row.sealed, what="removed"))
        elif _link(previous, row, row.seq) != row.hash:
            broken.append((previous, row))
        previous = row.hash
    faults = removed + [Fault(seq=row.sealed, what=_diagnose(p, row, broken)) for p, row in broken]
    return ChainReport(
        sealed=count,
        unsealed=len(conn.execute(_unsealed()).all()),
        head=bytes(previous).hex(),
        faults=sorted(faults, key=lambda fault: fault.seq),
    )


def _diagnose(previous: bytes, at: Any, broken: list[tuple[bytes, Any]]) -> str:
    """Tell a line that was edited from one that changed places with another."""
    for _, other in broken:
        if other.seq != at.seq and _link(previous, other, at.seq) == at.hash:
            return "reordered"
    return "changed"


def _unsealed() -> Select[Any]:
    # On PostgreSQL an event may commit after one with a higher number, but not by much:
    # looking back this far keeps sealing independent of the record's length.
    newest = select(func.coalesce(func.max(event_seals.c.seq), 0)).scalar_subquery()
    recent = events.c.seq > newest - _LOOK_BACK
    sealed = select(event_seals.c.seq).where(event_seals.c.seq > newest - _LOOK_BACK)
    return select(events).where(recent, events.c.seq.not_in(sealed)).order_by(events.c.seq)


def _link(previous: bytes, row: Any, seq: int) -> bytes:
    content = [seq, to_micros(row.at), row.actor, row.kind, row.subject, row.detail]
    return blake3(previous + encode(content).encode()).digest()
