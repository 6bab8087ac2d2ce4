"""How an event reads in each kind of channel."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection

from setpoint.events.entities import Event
from setpoint.notify import rules
from setpoint.notify.entities import Channel, Delivery, Message

_LONG = 300  #: characters of one value in a text


class Format(Protocol):
    """What a kind of channel is told, and how."""

    def body(self, conn: Connection, channel: Channel, event: Event) -> str | None:
        """Return what `channel` is told of `event`; None if it did not ask for it.

        Called in the transaction that takes the event out of the outbox.
        """

    def message(self, delivery: Delivery, secret: str, now: datetime) -> Message:
        """Return what is sent, signed as of `now`."""


class Webhook:
    """JSON, signed by the scheme of Standard Webhooks."""

    def body(self, conn: Connection, channel: Channel, event: Event) -> str | None:  # noqa: ARG002
        if not _wanted(channel, event):
            return None
        said = {
            "type": event.kind,
            "timestamp": event.at,
            "data": {
                "seq": event.seq,
                "actor": event.actor,
                "subject": event.subject,
                "detail": event.detail,
            },
        }
        return msgspec.json.encode(said).decode()

    def message(self, delivery: Delivery, secret: str, now: datetime) -> Message:
        headers = {
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if secret:
            signed = rules.signature(rules.key_of(secret), delivery.id, now, delivery.body)
            headers["webhook-signature"] = signed
        return Message(id=delivery.id, body=delivery.body, headers=headers)


class Slack:
    """One field of text, as Slack's incoming webhooks and those made like them take it."""

    def body(self, conn: Connection, channel: Channel, event: Event) -> str | None:  # noqa: ARG002
        if not _wanted(channel, event):
            return None
        safe = event.subject.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        lines = [f"*{event.kind}* {safe} by {event.actor}"]
        lines += [f"• {name}: {text}" for name, text in _facts(event.detail)]
        text = "\n".join(lines)
        return msgspec.json.encode({"text": text}).decode()

    def message(self, delivery: Delivery, secret: str, now: datetime) -> Message:  # noqa: ARG002
        return Message(id=delivery.id, body=delivery.body)


class Email:
    """A letter in plain text."""

    def body(self, conn: Connection, channel: Channel, event: Event) -> str | None:  # noqa: ARG002
        if not _wanted(channel, event):
            return None
        at = event.at.strftime("%-d %B %Y, %H:%M:%S UTC")
        facts = [f"{name}: {text}" for name, text in _facts(event.detail)]
        head = [f"{event.kind}: {event.subject}", f"{at}, by {event.actor}"]
        return "\n".join([*head, "", *facts]) + "\n"

    def message(self, delivery: Delivery, secret: str, now: datetime) -> Message:  # noqa: ARG002
        subject = " ".join(f"Setpoint: {delivery.kind} {delivery.subject}".split())
        return Message(id=delivery.id, body=delivery.body, subject=subject)


FORMATS: Mapping[str, Format] = {"webhook": Webhook(), "slack": Slack(), "email": Email()}


def _wanted(channel: Channel, event: Event) -> bool:
    return any(rules.matches(pattern, event.kind) for pattern in channel.events)


def _facts(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """Return an event's details as short texts; what is empty is left out."""
    found = []
    for name, value in sorted(detail.items()):
        if value in (None, "", [], {}):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        found.append((name.replace("_", " "), text if len(text) <= _LONG else f"{text[:_LONG]}…"))
    return found
