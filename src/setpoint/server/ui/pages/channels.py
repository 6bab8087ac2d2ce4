"""Who is told of what happens, and whether it arrived."""

import textwrap
from urllib.parse import quote

import msgspec

from setpoint.errors import Invalid
from setpoint.notify.deliver import trial
from setpoint.notify.entities import Channel, Delivery, Mail, State
from setpoint.notify.service import (
    AddChannel,
    Added,
    Delivered,
    ListChannels,
    ListDeliveries,
    OneChannel,
    OneDelivery,
    UpdateChannel,
    add,
    delivery,
    log,
    ls,
    redeliver,
    rm,
    show,
    update,
)
from setpoint.server.mlflow.registry_webhooks import KINDS
from setpoint.server.ui.page import Ask, Page, Redirect, Table

_SHOWN = 200
_FIELDS = ("name", "kind", "url", "events", "to", "sender", "user", "secret")


def channels(ask: Ask) -> Page:
    """Answer "who is told of what?"."""
    found: list[Channel] = ask.call(ls, ListChannels()).channels
    newest = {each.id: _log(ask, each.id, "", 1) for each in found}
    failing = [each for each in found if newest[each.id] and _bad(newest[each.id][0])]
    return Page(
        template="channels.html",
        title="Channels",
        active="Team",
        values={
            "heading": _heading(found, failing),
            "channels": found,
            "newest": {channel: listed[0] for channel, listed in newest.items() if listed},
        },
        tables={
            "channels": Table(
                columns=["id", "name", "kind", "address", "events", "enabled", "made"],
                rows=[
                    [c.id, c.name, c.kind, c.url, c.events, c.enabled, c.created_at] for c in found
                ],
            )
        },
    )


def _bad(newest: Delivery) -> bool:
    return newest.state is State.FAILED or (newest.state is State.WAITING and newest.attempts > 0)


def _heading(found: list[Channel], failing: list[Channel]) -> str:
    if not found:
        return "Channels"
    if failing:
        names = ", ".join(each.name for each in failing)
        return f"What was last sent to {names} has not arrived"
    on = sum(each.enabled for each in found)
    return f"{on} of {len(found)} channels {'is' if on == 1 else 'are'} told of what happens"


def channel(ask: Ask) -> Page:
    """Answer "did it arrive?" of one channel."""
    return _channel(ask, ask.call(show, OneChannel(channel=ask.params["channel"])))


def _channel(ask: Ask, found: Channel, secret: str = "") -> Page:
    state = ask.query.get("state", "")
    listed = _log(ask, found.id, state, _SHOWN)
    return Page(
        template="channel.html",
        title=f"Channel {found.name}",
        active="Team",
        values={
            "channel": found,
            "secret": secret,
            "deliveries": listed,
            "state": state,
            "states": [each.value for each in State],
        },
        tables={
            "deliveries": Table(
                columns=["id", "created_at", "kind", "subject", "state", "attempts", "ended_at"],
                rows=[
                    [d.id, d.created_at, d.kind, d.subject, d.state.value, d.attempts, d.ended_at]
                    for d in listed
                ],
            )
        },
    )


def _log(ask: Ask, name: str, state: str, limit: int) -> list[Delivery]:
    if state and state not in {each.value for each in State}:
        raise Invalid(f"there is no state {state!r}", hint=", ".join(State))
    cmd = ListDeliveries(channel=name, state=State(state) if state else None, limit=limit)
    found: list[Delivery] = ask.call(log, cmd).deliveries
    return found


def sent(ask: Ask) -> Page:
    """Show a delivery with every attempt at it."""
    told: Delivered = ask.call(delivery, OneDelivery(delivery=ask.params["delivery"]))
    found: Channel = ask.call(show, OneChannel(channel=told.delivery.channel))
    return Page(
        template="delivery.html",
        title=f"Delivery to {found.name}",
        active="Team",
        values={
            "channel": found,
            "delivery": told.delivery,
            "attempts": told.attempts,
            "body": _laid(told.delivery.body),
        },
        tables={
            "attempts": Table(
                columns=["number", "at", "seconds", "status", "error", "answer"],
                rows=[
                    [a.number, a.at, a.seconds, a.status, a.error, a.answer] for a in told.attempts
                ],
            )
        },
    )


def _laid(body: str) -> str:
    """Return what was sent, laid out where it is JSON."""
    try:
        return msgspec.json.format(body.encode(), indent=2).decode()
    except msgspec.DecodeError:
        return textwrap.dedent(body)


def create(ask: Ask) -> Page:
    """Add a channel, and show it with its secret if one was made for it."""
    given = {name: ask.form.get(name, "").strip() for name in _FIELDS}
    to = given["to"].replace(",", " ").split()
    letters = Mail(to=to, sender=given["sender"], user=given["user"])
    cmd = AddChannel(
        name=given["name"],
        kind=given["kind"],
        url=given["url"],
        events=given["events"].replace(",", " ").split(),
        secret=given["secret"] or None,
        mail=letters if given["kind"] == "email" else None,
    )
    added: Added = ask.call(add, cmd)
    return _channel(ask, added.channel, added.secret)


def change(ask: Ask) -> Redirect:
    """Try a channel, turn it on or off, or remove it."""
    name, what = ask.params["channel"], ask.form.get("do", "")
    found: Channel = ask.call(show, OneChannel(channel=name))
    if what == "test":
        trial(ask.backend, found.id, formats=KINDS)  # what came of it is in the log
    elif what in {"on", "off"}:
        ask.call(update, UpdateChannel(channel=found.id, enabled=what == "on"))
    elif what == "remove":
        ask.call(rm, OneChannel(channel=found.id))
        return Redirect(to="/channels")
    else:
        raise Invalid(f"a channel cannot be changed by {what!r}", hint="test, on, off or remove")
    return Redirect(to=f"/channels/{quote(found.id)}")


def again(ask: Ask) -> Redirect:
    """Have a delivery tried once more."""
    found: Delivery = ask.call(redeliver, OneDelivery(delivery=ask.params["delivery"]))
    return Redirect(to=f"/channels/{quote(found.channel)}/{quote(found.id)}")
