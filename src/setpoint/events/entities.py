"""What one line of the record is."""

from datetime import datetime
from typing import Any

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True):
    """Something that changed, who changed it and when."""

    seq: int  #: order of insertion; gaps are normal on PostgreSQL
    at: datetime  #: UTC, by the store's clock
    actor: str
    kind: str  #: past tense, ``noun.verb``
    subject: str  #: ``kind:name``
    detail: dict[str, Any]
