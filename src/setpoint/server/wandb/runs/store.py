"""All SQL about what the client's protocol knows of runs."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, delete, func, insert, select, update

from setpoint.artifacts.contract import PREFIX
from setpoint.db.upsert import upsert
from setpoint.runs.entities import Lifecycle
from setpoint.runs.tables import runs
from setpoint.server.wandb.runs.history import Row, dumps
from setpoint.server.wandb.tables import (
    wandb_digests,
    wandb_files,
    wandb_lines,
    wandb_rows,
    wandb_runs,
)

_BATCH = 1_000  #: rows a statement


class Known(Struct, frozen=True, kw_only=True):
    """What the client said of a run that no other client would."""

    run_id: str
    experiment: str
    name: str
    created_at: datetime
    heartbeat_at: datetime
    config: str = "{}"  #: JSON
    summary: str = "{}"  #: JSON
    fields: dict[str, Any] = field(default_factory=dict)
    sweep: str | None = None
    agent: str | None = None
    state: str | None = None
    exit_code: int | None = None
    stop: bool = False
    history_lines: int = 0
    event_lines: int = 0
    log_lines: int = 0


def add(conn: Connection, known: Known) -> None:
    """Insert what is known of a new run."""
    conn.execute(insert(wandb_runs).values(msgspec.structs.asdict(known)))


def change(conn: Connection, run_id: str, **values: Any) -> None:
    """Write columns of one run."""
    if values:
        conn.execute(update(wandb_runs).where(wandb_runs.c.run_id == run_id).values(values))


def find(conn: Connection, experiment: str, name: str) -> Known | None:
    """Read a run by the client's name for it."""
    of = (wandb_runs.c.experiment == experiment, wandb_runs.c.name == name)
    return next(iter(_known(conn, *of)), None)


def get(conn: Connection, run_id: str) -> Known | None:
    """Read a run by our id."""
    return next(iter(_known(conn, wandb_runs.c.run_id == run_id)), None)


def among(conn: Connection, run_ids: Iterable[str]) -> dict[str, Known]:
    """Return those of some runs that the client has made, by our id."""
    return {one.run_id: one for one in _known(conn, wandb_runs.c.run_id.in_(list(run_ids)))}


def of_sweep(conn: Connection, sweep: str) -> list[Known]:
    """Return the runs of a sweep, oldest first."""
    found = _known(conn, wandb_runs.c.sweep == sweep)
    return sorted(found, key=lambda one: (one.created_at, one.run_id))


def _known(conn: Connection, *where: Any) -> list[Known]:
    rows = conn.execute(select(wandb_runs).where(*where))
    return [msgspec.convert(row, Known, from_attributes=True) for row in rows]


def count(conn: Connection, experiment_id: int) -> int:
    """Return how many runs an experiment has, deleted ones left out."""
    of = (runs.c.experiment_id == experiment_id, runs.c.lifecycle == Lifecycle.ACTIVE)
    return int(conn.execute(select(func.count()).select_from(runs).where(*of)).scalar_one())


def put_rows(conn: Connection, run_id: str, rest: Mapping[int, Row]) -> None:
    """Add what rows hold beside numbers to what the same steps had."""
    steps = list(rest)
    for start in range(0, len(steps), _BATCH):
        some = steps[start : start + _BATCH]
        here = (wandb_rows.c.run_id == run_id, wandb_rows.c.step.in_(some))
        had = {row.step: json.loads(row.content) for row in conn.execute(_rows(*here))}
        rows = [
            {"run_id": run_id, "step": s, "content": dumps(had.get(s, {}) | rest[s])} for s in some
        ]
        upsert(conn, wandb_rows, rows, update=["content"])


def rest(
    conn: Connection, run_id: str, first: int | None = None, last: int | None = None
) -> dict[int, Row]:
    """Return what the rows of steps from `first` to `last` hold beside numbers."""
    where = [wandb_rows.c.run_id == run_id]
    if first is not None:
        where.append(wandb_rows.c.step >= first)
    if last is not None:
        where.append(wandb_rows.c.step <= last)
    return {row.step: json.loads(row.content) for row in conn.execute(_rows(*where))}


def _rows(*where: Any) -> Any:
    return select(wandb_rows.c.step, wandb_rows.c.content).where(*where)


def put_lines(conn: Connection, run_id: str, offset: int, lines: list[str]) -> None:
    """Write lines of output from number `offset` on, over what was there."""
    rows = [
        # PostgreSQL keeps no NUL.
        {"run_id": run_id, "number": offset + i, "content": line.replace("\0", "\ufffd")}
        for i, line in enumerate(lines)
    ]
    upsert(conn, wandb_lines, rows, update=["content"])


def lines(
    conn: Connection, run_id: str, *, after: int = -1, first: int | None = None, last: int = 0
) -> list[tuple[int, str]]:
    """Return lines of output by number: the `first` ones after one, or the `last` ones."""
    n = wandb_lines.c.number
    query = select(n, wandb_lines.c.content).where(wandb_lines.c.run_id == run_id, n > after)
    if last:
        found = conn.execute(query.order_by(n.desc()).limit(last)).all()
        return [(row.number, row.content) for row in reversed(found)]
    return [(row.number, row.content) for row in conn.execute(query.order_by(n).limit(first))]


class Content(Struct, frozen=True, kw_only=True):
    """Where the bytes of an MD5 are."""

    md5: str  #: base 64
    address: str
    size: int


def put_content(conn: Connection, content: Content) -> None:
    """Write where the bytes of an MD5 are."""
    upsert(conn, wandb_files, [msgspec.structs.asdict(content)], update=["address", "size"])


def contents(conn: Connection, md5s: Iterable[str]) -> dict[str, Content]:
    """Return those of some MD5s whose bytes are here."""
    names = list(md5s)
    found: dict[str, Content] = {}
    for start in range(0, len(names), _BATCH):
        where = wandb_files.c.md5.in_(names[start : start + _BATCH])
        for row in conn.execute(select(wandb_files).where(where)):
            found[row.md5] = msgspec.convert(row, Content, from_attributes=True)
    return found


def drop_contents(conn: Connection, md5s: Iterable[str]) -> set[str]:
    """Forget where contents are; return their addresses."""
    found = contents(conn, md5s)
    for start in range(0, len(found), _BATCH):
        some = list(found)[start : start + _BATCH]
        conn.execute(delete(wandb_files).where(wandb_files.c.md5.in_(some)))
    return {content.address for content in found.values()}


def put_digest(conn: Connection, content: Content) -> None:
    """Write the MD5 of a file that a run keeps."""
    row = {"hash": content.address.removeprefix(PREFIX), "md5": content.md5}
    upsert(conn, wandb_digests, [row], update=["md5"])


def digests(conn: Connection, addresses: Iterable[str]) -> dict[str, str]:
    """Return the MD5 of objects by their address, where it is known."""
    wanted = [address.removeprefix(PREFIX) for address in addresses]
    found: dict[str, str] = {}
    for start in range(0, len(wanted), _BATCH):
        where = wandb_digests.c.hash.in_(wanted[start : start + _BATCH])
        for row in conn.execute(select(wandb_digests).where(where)):
            found[PREFIX + row.hash] = row.md5
    return found
