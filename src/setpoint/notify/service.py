"""What one can do with channels. One transaction each; nothing is sent in any of them."""

import base64
import os
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid
from setpoint.events import store as events
from setpoint.notify import rules, store
from setpoint.notify.entities import Attempt, Channel, Delivery, Mail, State

_SCHEMES = {
    "webhook": ("https", "http"),
    "slack": ("https", "http"),
    "email": ("smtps", "smtp"),
    "mlflow": ("https", "http"),  # a webhook that MLflow's clients made
}


class AddChannel(Struct, frozen=True, kw_only=True):
    name: str
    kind: str  #: ``webhook``, ``slack`` or ``email``
    url: str
    events: list[str]  #: kinds of events, or their beginnings and ``*``
    description: str = ""
    enabled: bool = True
    secret: str | None = None  #: None: a webhook gets one made, others none
    mail: Mail | None = None  #: of kind ``email``


class Added(Struct, frozen=True, kw_only=True):
    channel: Channel
    secret: str  #: shown this once


class UpdateChannel(Struct, frozen=True, kw_only=True):
    channel: str  #: id, or name
    name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    secret: str | UnsetType = UNSET
    mail: Mail | UnsetType = UNSET


class OneChannel(Struct, frozen=True, kw_only=True):
    channel: str  #: id, or name


class ListChannels(Struct, frozen=True, kw_only=True):
    pass


class Channels(Struct, frozen=True, kw_only=True):
    channels: list[Channel]  #: the newest first


class ListDeliveries(Struct, frozen=True, kw_only=True):
    channel: str | None = None
    state: State | None = None
    limit: int = 100


class Deliveries(Struct, frozen=True, kw_only=True):
    deliveries: list[Delivery]  #: the newest first


class OneDelivery(Struct, frozen=True, kw_only=True):
    delivery: str


class Delivered(Struct, frozen=True, kw_only=True):
    delivery: Delivery
    attempts: list[Attempt] = field(default_factory=list)  #: oldest first


@operation("notify.add", needs="notify:write")
def add(ctx: Context, cmd: AddChannel) -> Added:
    """Add a channel that is told of events from now on."""
    secret = cmd.secret
    if secret is None:
        made = base64.b64encode(os.urandom(24)).decode()
        secret = f"whsec_{made}" if cmd.kind == "webhook" else ""
    _check_secret(cmd.kind, secret)
    address, patterns = _address(cmd.kind, cmd.url), rules.check_patterns(cmd.events)
    name, mail, key = _named(cmd.name), _mail(cmd.kind, cmd.mail), new_id("chn", ctx.now)
    # The address stays out of the record: a Slack hook's is a secret in itself.
    detail = {"name": name, "channel": cmd.kind, "events": patterns}
    events.record(ctx, "channel.added", f"channel:{key}", **detail)
    channel = Channel(
        id=key,
        name=name,
        kind=cmd.kind,
        url=address,
        events=patterns,
        description=cmd.description,
        enabled=cmd.enabled,
        signed=bool(secret),
        mail=mail,
        since=events.head(ctx.conn),
        actor=ctx.actor,
        created_at=ctx.now,
        updated_at=ctx.now,
    )
    store.add(ctx.conn, channel, secret)
    return Added(channel=_shown(channel), secret=secret if cmd.secret is None else "")


@operation("notify.update", needs="notify:write")
def update(ctx: Context, cmd: UpdateChannel) -> Channel:
    """Change a channel; enabling one again does not tell it what it has missed."""
    was = store.get(ctx.conn, cmd.channel)
    fields = msgspec.structs.asdict(cmd)
    changed = {n: v for n, v in fields.items() if v is not UNSET and n != "channel"}
    if cmd.name is not UNSET:
        _named(cmd.name)
    if cmd.url is not UNSET:
        _address(was.kind, cmd.url)
    if cmd.events is not UNSET:
        changed["events"] = rules.check_patterns(cmd.events)
    if cmd.secret is not UNSET:
        _check_secret(was.kind, cmd.secret)
    if cmd.mail is not UNSET:
        _mail(was.kind, cmd.mail)
    if cmd.enabled is True and not was.enabled:
        changed["since"] = events.head(ctx.conn)
    store.change(ctx.conn, was.id, **changed, updated_at=ctx.now)
    events.record(ctx, "channel.changed", f"channel:{was.id}", fields=sorted(changed))
    return _shown(store.get(ctx.conn, was.id))


@operation("notify.rm", needs="notify:write")
def rm(ctx: Context, cmd: OneChannel) -> Channel:
    """Remove a channel, with what it was still to be told and the log of what it was."""
    channel = store.get(ctx.conn, cmd.channel)
    store.drop(ctx.conn, channel.id)
    events.record(ctx, "channel.removed", f"channel:{channel.id}", name=channel.name)
    return _shown(channel)


@operation("notify.show", needs="notify:read")
def show(ctx: Context, cmd: OneChannel) -> Channel:
    """Return a channel, without its secret."""
    return _shown(store.get(ctx.conn, cmd.channel))


@operation("notify.ls", needs="notify:read")
def ls(ctx: Context, cmd: ListChannels) -> Channels:  # noqa: ARG001
    """Return all channels."""
    return Channels(channels=[_shown(each) for each in store.ls(ctx.conn)])


@operation("notify.log", needs="notify:read")
def log(ctx: Context, cmd: ListDeliveries) -> Deliveries:
    """Return what was and is to be delivered, to one channel or to all."""
    channel = None if cmd.channel is None else store.get(ctx.conn, cmd.channel).id
    found = store.log(ctx.conn, channel=channel, state=cmd.state, limit=cmd.limit)
    return Deliveries(deliveries=found)


@operation("notify.delivery", needs="notify:read")
def delivery(ctx: Context, cmd: OneDelivery) -> Delivered:
    """Return a delivery with every attempt at it."""
    found = store.get_delivery(ctx.conn, cmd.delivery)
    return Delivered(delivery=found, attempts=store.attempts(ctx.conn, found.id))


@operation("notify.redeliver", needs="notify:write")
def redeliver(ctx: Context, cmd: OneDelivery) -> Delivery:
    """Try a delivery once more, now, with the same id and the same body."""
    found = store.get_delivery(ctx.conn, cmd.delivery)
    if found.state is State.WAITING and found.next_at <= ctx.now:
        raise Conflict("it is on its way already")
    store.settle(
        ctx.conn,
        found.id,
        state=State.WAITING,
        attempts=found.attempts,
        next_at=ctx.now,
        ended_at=None,
    )
    return store.get_delivery(ctx.conn, found.id)


def _shown(channel: Channel) -> Channel:
    """Return a channel as people may see it: whoever has a Slack hook's address can use it."""
    if channel.kind != "slack":
        return channel
    parts = urlsplit(channel.url)
    return msgspec.structs.replace(channel, url=f"{parts.scheme}://{parts.hostname}/…")


def _named(name: str) -> str:
    if not name.strip():
        raise Invalid("a channel needs a name")
    return name


def _address(kind: str, url: str) -> str:
    schemes = _SCHEMES.get(kind)
    if schemes is None:
        raise Invalid(
            f"there are no channels of kind {kind!r}", hint=f"one of {', '.join(_SCHEMES)}"
        )
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.scheme in schemes and parts.port != 0
    except ValueError:
        good = False
    else:
        if parts.username or parts.password:
            raise Invalid("the address holds a login", hint="give it as the channel's secret")
    if not good:
        raise Invalid(
            f"{url!r} is no address for a channel of kind {kind}",
            hint=f"it begins with {' or '.join(f'{each}://' for each in schemes)}",
        )
    return url


def _check_secret(kind: str, secret: str) -> None:
    if kind == "webhook":
        rules.key_of(secret)


def _mail(kind: str, mail: Mail | None) -> Mail | None:
    if kind != "email":
        if mail is not None:
            raise Invalid(
                f"a channel of kind {kind} sends no letters", hint="make it of kind email"
            )
        return None
    if mail is None or not mail.to:
        raise Invalid("a channel of kind email needs someone to write to", hint="--to ADDRESS")
    for address in (mail.sender, *mail.to):
        if "@" not in address or any(letter in address for letter in "\r\n,;<> "):
            raise Invalid(f"{address!r} is no e-mail address")
    return mail


OPERATIONS = (add, update, rm, show, ls, log, delivery, redeliver)
