"""What people decide and say about a model or one of its versions."""

from datetime import datetime

from msgspec import Struct


class Approval(Struct, frozen=True, kw_only=True):
    """A named decision about a version; the newest of each role is the one that holds."""

    id: str
    model: str
    number: int
    role: str  #: for which the actor speaks, e.g. ``risk``
    approved: bool  #: or rejected
    actor: str
    at: datetime
    reason: str


class Protection(Struct, frozen=True, kw_only=True):
    """An alias that does not move by hand to a version that some role has not approved."""

    model: str
    alias: str
    roles: list[str]  #: each must have approved the version; none: it does not move by hand
    actor: str
    at: datetime
    reason: str


class Asked(Struct, frozen=True, kw_only=True):
    """An approval that somebody asked for and that waits for a decision."""

    model: str
    number: int
    role: str
    actor: str  #: who asks
    at: datetime
    reason: str
