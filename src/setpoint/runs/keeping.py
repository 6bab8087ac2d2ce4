"""How long runs are kept: freeing what deleted ones hold, and merging what is left loose."""

from datetime import timedelta

from sqlalchemy import Connection

from setpoint.artifacts.store import Freed, free, open_store
from setpoint.core.clock import to_micros
from setpoint.core.operations import Context, operation
from setpoint.db import references
from setpoint.db.local import LocalBackend
from setpoint.events.store import record
from setpoint.runs.commands import Collect, Collected
from setpoint.runs.store import experiments, garbage, merging, runs, series

_BATCH = 500  #: runs a round
_LOOSE_FOR = timedelta(minutes=1)  #: no point arrived: its tail can be merged


@operation("runs.gc", needs="runs:write")
def collect(ctx: Context, cmd: Collect) -> Collected:
    """Free what deleted runs hold: points, params, tags, and files nothing else names."""
    before = ctx.now - timedelta(seconds=cmd.older_than)
    keys = garbage.dead(ctx.conn, before, cmd.runs)
    candidates: set[str] = set()
    points = size = 0
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        candidates |= garbage.addresses(ctx.conn, some)
        freed = series.drop(ctx.conn, some) if not cmd.dry else series.held(ctx.conn, some)
        points, size = points + freed[0], size + freed[1]
        if not cmd.dry:
            garbage.drop(ctx.conn, some)
    empty = [] if cmd.runs else garbage.empty_experiments(ctx.conn, before, keys)
    if not cmd.dry:
        experiments.drop(ctx.conn, empty)
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


def _free(ctx: Context, candidates: set[str], gone: list[int], *, dry: bool) -> Freed:
    """Delete objects that nothing names any more; return how many, and their bytes."""
    if not candidates:
        return Freed(0, 0)
    garbage.hold_files(ctx.conn)
    kept = _named(ctx.conn, candidates, set(gone) if dry else set())
    return free(open_store(ctx.settings), candidates - kept, dry=dry)


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
            runs.hold(conn, key)
            merging.merge(conn, merging.loose(conn, key))
    return len(keys)


OPERATIONS = (collect,)
