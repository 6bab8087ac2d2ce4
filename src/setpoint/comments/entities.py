"""What one comment is."""

from datetime import datetime

from msgspec import Struct


class Comment(Struct, frozen=True, kw_only=True):
    """Something that somebody says about a thing."""

    id: str
    subject: str  #: as events name it: ``run:run_01J…``, ``version:credit/3``, ``model:credit``
    actor: str
    at: datetime
    text: str  #: Markdown
    edited_at: datetime | None = None
