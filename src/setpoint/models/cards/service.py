"""Reading, editing and exporting cards."""

from msgspec import Struct

from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid
from setpoint.events.store import record
from setpoint.models import card
from setpoint.models.cards import html
from setpoint.models.registry import store as registry
from setpoint.models.review import store as review

_LIMIT = 100_000  #: characters


class ShowCard(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    html: bool = False  #: as one HTML file too


class Card(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    words: str  #: what its makers say; the part that can be edited
    markdown: str  #: the whole card
    html: str = ""  #: the whole card as one file, if asked for


class WriteCard(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    words: str  #: Markdown: purpose, limits, who to ask


@operation("models.card", needs="models:read")
def show(ctx: Context, cmd: ShowCard) -> Card:
    """Return the card of a version: its makers' words, and all that is recorded of it."""
    entry = registry.get_entry(ctx.conn, cmd.model, cmd.number)
    model = registry.get(ctx.conn, cmd.model)
    decisions = review.approvals(ctx.conn, cmd.model, cmd.number)
    markdown = card.render(entry, model.aliases, decisions)
    return Card(
        model=cmd.model,
        number=cmd.number,
        words=entry.version.card,
        markdown=markdown,
        html=html.page(markdown, f"{cmd.model}, version {cmd.number}") if cmd.html else "",
    )


@operation("models.write-card", needs="models:write")
def write(ctx: Context, cmd: WriteCard) -> Card:
    """Change what its makers say on the card of a version; the words before are recorded."""
    if len(cmd.words) > _LIMIT:
        raise Invalid(f"a card has {_LIMIT:,} characters at most, not {len(cmd.words):,}")
    version = registry.get_entry(ctx.conn, cmd.model, cmd.number).version
    if version.card != cmd.words:
        registry.change_version(ctx.conn, cmd.model, cmd.number, card=cmd.words, updated_at=ctx.now)
        record(ctx, "model.card_written", version.ref, was=version.card)
    return show(ctx, ShowCard(model=cmd.model, number=cmd.number))


OPERATIONS = (show, write)
