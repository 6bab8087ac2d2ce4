"""Versions that go: by a rule, after a time, and their bytes with them.

Three steps, each of which may be the last before a kill: a version is deleted (and can be
restored), its files are given up, its bytes are freed. What the record says of it stays.
"""

import time
from datetime import timedelta

from msgspec import Struct

from setpoint.artifacts.store import free, open_store
from setpoint.core.operations import Backend, Context, operation
from setpoint.events.store import record
from setpoint.models import store as versions
from setpoint.models.entities import ModelVersion
from setpoint.models.registry import rules
from setpoint.models.registry import store as registry
from setpoint.models.retention import store

MONTH = 30 * 86_400.0
#: Seconds since an object was put in which it is not freed: who stored the same bytes again
#: may be about to name them.
_FRESH = 3_600.0


class Retire(Struct, frozen=True, kw_only=True):
    dry: bool = False  #: only say what would go


class Named(Struct, frozen=True, kw_only=True):
    model: str
    number: int


class Retired(Struct, frozen=True, kw_only=True):
    versions: list[Named]  #: deleted, and can be restored


class Purge(Struct, frozen=True, kw_only=True):
    older_than: float = MONTH  #: seconds since a version was deleted
    dry: bool = False


class Purged(Struct, frozen=True, kw_only=True):
    versions: list[Named]  #: whose files are given up
    models: list[str]  #: of which nothing is left


class Sweep(Struct, frozen=True, kw_only=True):
    dry: bool = False


class Swept(Struct, frozen=True, kw_only=True):
    objects: int
    bytes: int
    spared: int  #: objects that are named otherwise, or were stored again within the hour


class Collected(Struct, frozen=True, kw_only=True):
    """What one round of collecting came to."""

    retired: list[Named]
    versions: list[Named]
    models: list[str]
    objects: int
    bytes: int
    spared: int


@operation("models.retire", needs="models:delete")
def retire(ctx: Context, cmd: Retire) -> Retired:
    """Delete the versions that the rules of keeping let go; they can be restored."""
    gone = []
    for name in store.ruled(ctx.conn):
        model = registry.get(ctx.conn, name, lock=not cmd.dry)
        if model.keep is None:
            continue
        living = versions.versions(ctx.conn, name)
        for number in rules.outlived(living, model.aliases.values(), model.keep, ctx.now):
            gone.append(Named(model=name, number=number))
            if not cmd.dry:
                registry.change_version(
                    ctx.conn, name, number, deleted_at=ctx.now, updated_at=ctx.now
                )
                reason = "its model's rule of keeping let it go"
                record(ctx, "model.version_deleted", f"version:{name}/{number}", reason=reason)
    return Retired(versions=gone)


@operation("models.purge", needs="models:delete")
def purge(ctx: Context, cmd: Purge) -> Purged:
    """Give up the files of versions that were deleted a while ago; they do not come back.

    A version that was trained here stays as a line, for the predictions and releases that
    name it. One from elsewhere is forgotten, and so is a deleted model that has none left.
    """
    before = ctx.now - timedelta(seconds=cmd.older_than)
    found = store.forgotten(ctx.conn, before)
    if cmd.dry:
        return Purged(versions=[_name(each) for each in found], models=[])
    for each in found:
        if _addresses(each) or each.trained_here:
            registry.forget_said(ctx.conn, each.model, each.number)
            registry.change_version(ctx.conn, each.model, each.number, purged_at=ctx.now)
        else:
            registry.forget_version(ctx.conn, each.model, each.number)
        record(ctx, "model.purged", each.ref)
    empty = store.empty(ctx.conn, before)
    for name in empty:
        registry.forget(ctx.conn, name)
        record(ctx, "model.forgotten", f"model:{name}")
    return Purged(versions=[_name(each) for each in found], models=empty)


@operation("models.sweep", needs="models:delete")
def sweep(ctx: Context, cmd: Sweep) -> Swept:
    """Free the bytes of versions whose files were given up, and that nothing else names."""
    objects = open_store(ctx.settings)
    found = {address for each in store.given_up(ctx.conn) for address in _addresses(each)}
    there = objects.find(found)
    fresh = {address for address, one in there.items() if one.stored_at > time.time() - _FRESH}
    named = store.still_named(ctx.conn, there.keys() - fresh)
    freed = free(objects, there.keys() - fresh - named, dry=cmd.dry)
    if not cmd.dry:
        if not fresh:
            store.freed(ctx.conn, ctx.now)
        if freed.objects:
            record(ctx, "model.freed", "models", objects=freed.objects, bytes=freed.bytes)
    return Swept(objects=freed.objects, bytes=freed.bytes, spared=len(fresh | named))


def collect(backend: Backend, *, older_than: float = MONTH, dry: bool = False) -> Collected:
    """Retire, purge and sweep, each in a transaction of its own."""
    retired = backend.call(retire, Retire(dry=dry))
    purged = backend.call(purge, Purge(older_than=older_than, dry=dry))
    swept = backend.call(sweep, Sweep(dry=dry))
    return Collected(
        retired=retired.versions,
        versions=purged.versions,
        models=purged.models,
        objects=swept.objects,
        bytes=swept.bytes,
        spared=swept.spared,
    )


def _addresses(version: ModelVersion) -> set[str]:
    """Return the objects that a version alone may hold; its spec is its model's."""
    held = [version.artifact, version.onnx, version.reference, version.rows]
    held.append(version.background)
    if (baseline := version.baseline) is not None:
        held += [baseline.artifact, baseline.onnx, baseline.background]
    held += version.stored.addresses
    if version.signed is not None:
        held.append(version.signed.bundle)
    return {address for address in held if address}


def _name(version: ModelVersion) -> Named:
    return Named(model=version.model, number=version.number)


OPERATIONS = (retire, purge, sweep)
