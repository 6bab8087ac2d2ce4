"""How long runs are kept: freeing what deleted ones hold, and merging what is left loose."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, text

from setpoint.artifacts.store import FileStore, open_store
from setpoint.core.clock import to_micros
from setpoint.core.operations import Context, operation
from setpoint.db import references
from setpoint.db.local import LocalBackend
from setpoint.events.store import record
from setpoint.runs import cards, experiment_store, merging, series, store, values
from setpoint.runs.commands import Collect, Collected
from setpoint.runs.entities import Lifecycle
from setpoint.runs.tables import experiments as e
from setpoint.runs.tables import run_artifacts as a
from setpoint.runs.tables import run_sources
from setpoint.runs.tables import runs as r

_BATCH = 500  #: runs a round
_LOOSE_FOR = timedelta(minutes=1)  #: no point arrived: its tail can be merged


@operation("runs.gc", needs="runs:write")
def collect(ctx: Context, cmd: Collect) -> Collected:
    """Free what deleted runs hold: points, params, tags, and files nothing else names."""
    before = ctx.now - timedelta(seconds=cmd.older_than)
    keys = _dead(ctx.conn, cmd, before)
    candidates = _addresses(ctx.conn, keys)
    points = size = 0
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        freed = series.drop(ctx.conn, some) if not cmd.dry else series.held(ctx.conn, some)
        points, size = points + freed[0], size + freed[1]
        if not cmd.dry:
            values.drop(ctx.conn, some)
            cards.drop(ctx.conn, some)
            ctx.conn.execute(delete(run_sources).where(run_sources.c.run_key.in_(some)))
            ctx.conn.execute(delete(r).where(r.c.key.in_(some)))
    empty = _empty_experiments(ctx.conn, cmd, before, keys)
    if not cmd.dry:
        experiment_store.drop(ctx.conn, empty)
    objects, freed_bytes = _free(ctx, candidates, keys, dry=cmd.dry)
    done = Collected(
        runs=len(keys),
        experiments=len(empty),
        points=points,
        objects=objects,
        bytes=size + freed_bytes,
    )
    if not cmd.dry and (done.runs or done.experiments):
        record(ctx, "runs.collected", "runs", **_facts(done))
    return done


def _facts(done: Collected) -> dict[str, int]:
    return {name: getattr(done, name) for name in Collected.__struct_fields__}


def _dead(conn: Connection, cmd: Collect, before: datetime) -> list[int]:
    """Return the runs that go; not those whose files a registered version of a model needs."""
    query = select(r.c.key).where(r.c.lifecycle == Lifecycle.DELETED, r.c.deleted_at <= before)
    query = query.where(r.c.id.not_in(references.runs_of_versions()))
    if cmd.runs:
        query = query.where(r.c.id.in_(cmd.runs))
    return list(conn.execute(query.order_by(r.c.key)).scalars())


def _empty_experiments(
    conn: Connection, cmd: Collect, before: datetime, gone: list[int]
) -> list[int]:
    """Return deleted experiments that hold no run but those that go."""
    if cmd.runs:
        return []
    dead = select(e.c.id).where(e.c.lifecycle == Lifecycle.DELETED, e.c.updated_at <= before)
    found = set(conn.execute(dead).scalars())
    going = set(gone)
    for number, key in conn.execute(
        select(r.c.experiment_id, r.c.key).where(r.c.experiment_id.in_(found))
    ):
        if key not in going:
            found.discard(number)
    return sorted(found)


def _addresses(conn: Connection, keys: list[int]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        left = select(a.c.address).where(a.c.run_key.in_(some))
        found.update(conn.execute(left).scalars())
        for code in conn.execute(select(r.c.code).where(r.c.key.in_(some))).scalars():
            if code and code.get("diff"):
                found.add(code["diff"])
    return found


def _free(ctx: Context, candidates: set[str], gone: list[int], *, dry: bool) -> tuple[int, int]:
    """Delete objects that nothing names any more; return how many, and their bytes."""
    if not candidates:
        return 0, 0
    if ctx.conn.dialect.name == "postgresql":  # SQLite has one writer: this one
        ctx.conn.execute(text("LOCK TABLE run_artifacts IN SHARE ROW EXCLUSIVE MODE"))
    kept = _named(ctx.conn, candidates, set(gone) if dry else set())
    objects: FileStore = open_store(ctx.settings)
    count = size = 0
    for address in sorted(candidates - kept):
        if objects.has(address):
            count, size = count + 1, size + objects.size(address)
            if not dry:
                objects.delete(address)
    return count, size


def _named(conn: Connection, candidates: set[str], gone: set[int]) -> set[str]:
    """Return which addresses any table still names, but for the rows of runs that go."""
    if not gone:
        return references.named(conn, candidates, rows={})
    return references.named(
        conn,
        candidates,
        rows={
            "runs": lambda table: table.c.key.not_in(gone),
            "run_artifacts": lambda table: table.c.run_key.not_in(gone),
        },
    )


def settle(backend: LocalBackend) -> int:
    """Merge what runs that were killed or pause left loose; return how many."""
    before = to_micros(backend.clock.now() - _LOOSE_FOR)
    with backend.reading() as conn:
        keys = merging.forgotten(conn, before)
    for key in keys:
        with backend.engine.begin() as conn:
            store.hold(conn, key)
            merging.merge(conn, merging.loose(conn, key))
    return len(keys)


OPERATIONS = (collect,)
