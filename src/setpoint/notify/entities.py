"""Who is told what, and what became of it."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field


class Mail(Struct, frozen=True, kw_only=True):
    """How a channel of kind ``email`` addresses its letters."""

    to: list[str]
    sender: str
    user: str = ""  #: of the SMTP server; empty: no login


class Channel(Struct, frozen=True, kw_only=True):
    """A place that is told of events. Its secret is never part of it."""

    id: str
    name: str
    kind: str  #: ``webhook``, ``slack``, ``email`` or ``mlflow``
    url: str  #: https://…, http://…, smtps://…, smtp://… (STARTTLS where the server offers it)
    events: list[str]  #: kinds of events, ``release.promoted``, or their beginnings, ``release.*``
    description: str = ""
    enabled: bool = True
    signed: bool = False  #: whether it has a secret that signs what is sent, or logs in
    mail: Mail | None = None
    since: int  #: only events with a higher number are told
    actor: str  #: who made it
    created_at: datetime
    updated_at: datetime


class State(StrEnum):
    """Of a delivery."""

    WAITING = "waiting"  #: for its first or next attempt
    DELIVERED = "delivered"
    FAILED = "failed"  #: given up


class Delivery(Struct, frozen=True, kw_only=True):
    """One message to one channel."""

    id: str  #: the same in every attempt, so that who gets it twice can tell
    channel: str
    seq: int  #: number of the event; 0: a trial
    kind: str
    subject: str
    body: str  #: as it is sent
    state: State
    created_at: datetime
    next_at: datetime  #: of its next attempt
    attempts: int = 0
    ended_at: datetime | None = None


class Attempt(Struct, frozen=True, kw_only=True):
    """One try to deliver, and the answer."""

    delivery: str
    number: int  #: 1 for the first
    at: datetime
    seconds: float
    status: int | None = None  #: of HTTP or SMTP; None: no answer
    error: str = ""  #: why it failed, in words; empty: it was delivered
    answer: str = ""  #: the beginning of what came back


class Outcome(Struct, frozen=True, kw_only=True):
    """What a try to send came to."""

    status: int | None = None
    error: str = ""  #: empty: it arrived
    answer: str = ""
    again: bool = False  #: whether trying later may help
    after: float | None = None  #: seconds the receiver asks to wait


class Message(Struct, frozen=True, kw_only=True):
    """What is sent: to whom, and how it is signed."""

    id: str
    body: str
    subject: str = ""  #: of a letter
    headers: dict[str, str] = field(default_factory=dict)
