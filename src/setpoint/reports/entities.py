"""What people write about runs: reports, and the views of the runs table they come back to."""

from datetime import datetime

from msgspec import Struct


class Report(Struct, frozen=True, kw_only=True):
    """A text in Markdown with live charts in it."""

    id: str
    title: str
    text: str  #: Markdown; its blocks ``chart`` and ``runs`` are drawn
    edition: int  #: 1 when it is first saved; grows with each change
    actor: str  #: who saved this edition
    created_at: datetime
    updated_at: datetime


class SavedView(Struct, frozen=True, kw_only=True):
    """A way to look at the runs table, under a name."""

    name: str  #: unique
    query: str  #: what follows the ``?`` of the page's address
    actor: str
    updated_at: datetime
