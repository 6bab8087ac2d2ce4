"""What one can ask of the record."""

from msgspec import Struct

from setpoint.core.operations import Context, operation
from setpoint.events import chain, store
from setpoint.events.chain import ChainReport
from setpoint.events.entities import Event


class ListEvents(Struct, frozen=True, kw_only=True):
    after: int = 0  #: only events with a higher number; 0 with `newest` for the latest
    subject: str | None = None  #: prefix, such as ``model:flights-late``
    kind: str | None = None  #: prefix, such as ``release.``
    limit: int = 100
    newest: bool = True  #: newest first; else oldest first, for following


class Events(Struct, frozen=True, kw_only=True):
    events: list[Event]


class VerifyEvents(Struct, frozen=True, kw_only=True):
    pass


@operation("events.ls", needs="events:read")
def ls(ctx: Context, cmd: ListEvents) -> Events:
    """List events, by subject and kind."""
    if cmd.newest and not cmd.after:
        found = store.latest(ctx.conn, subject=cmd.subject, kind=cmd.kind, limit=cmd.limit)
    else:
        found = store.since(
            ctx.conn, after=cmd.after, subject=cmd.subject, kind=cmd.kind, limit=cmd.limit
        )
    return Events(events=found)


@operation("events.verify", needs="events:read")
def verify(ctx: Context, cmd: VerifyEvents) -> ChainReport:  # noqa: ARG001
    """Verify the hash chain and name each changed, removed or reordered line."""
    return chain.verify(ctx.conn)


OPERATIONS = (ls, verify)
