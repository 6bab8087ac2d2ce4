"""Noting who signed a version; keys are never sent here."""

import re

from msgspec import Struct

from setpoint.artifacts.store import open_store
from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid
from setpoint.events.store import record
from setpoint.models.entities import Signing
from setpoint.models.registry import store as registry
from setpoint.models.registry.entities import Entry

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class AttachSignature(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    bundle: str  #: address of the signature in the object store
    key: str  #: fingerprint of the public key: SHA-256 of its DER form, hex


@operation("models.sign", needs="models:sign")
def attach(ctx: Context, cmd: AttachSignature) -> Entry:
    """Note a signature under the files of a version; a later one replaces it."""
    version = registry.get_entry(ctx.conn, cmd.model, cmd.number).version
    if not _FINGERPRINT.fullmatch(cmd.key):
        raise Invalid(f"{cmd.key!r} is no fingerprint", hint="64 hex digits: SHA-256 of the key")
    if not open_store(ctx.settings).has(cmd.bundle):
        raise Invalid("the signature is not in the object store", hint="put it there first")
    signed = Signing(bundle=cmd.bundle, key=cmd.key, actor=ctx.actor, at=ctx.now)
    registry.change_version(ctx.conn, cmd.model, cmd.number, signed=signed, updated_at=ctx.now)
    record(ctx, "model.signed", version.ref, key=cmd.key, bundle=cmd.bundle)
    return registry.get_entry(ctx.conn, cmd.model, cmd.number)


OPERATIONS = (attach,)
