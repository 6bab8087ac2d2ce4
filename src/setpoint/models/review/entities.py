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


class Comment(Struct, frozen=True, kw_only=True):
    """Something that somebody says about a version, or about the model itself (number 0)."""

    id: str
    model: str
    number: int
    actor: str
    at: datetime
    text: str  #: Markdown
    edited_at: datetime | None = None
