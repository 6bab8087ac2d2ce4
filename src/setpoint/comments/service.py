"""What one can do with comments. What they are about is known to its own domain, which says so."""

import msgspec
from msgspec import Struct

from setpoint.comments import rules, store
from setpoint.comments.entities import Comment
from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Denied, Invalid
from setpoint.events.store import record

_TEXT_LIMIT = 20_000  #: characters of a comment


class AboutSubject(Struct, frozen=True, kw_only=True):
    subject: str  #: ``run:run_01J…``, ``version:credit/3``, ``report:rep_01J…``


class Comments(Struct, frozen=True, kw_only=True):
    comments: list[Comment]


class EditComment(Struct, frozen=True, kw_only=True):
    comment: str
    text: str


class DropComment(Struct, frozen=True, kw_only=True):
    comment: str


class Mentions(Struct, frozen=True, kw_only=True):
    person: str
    limit: int = 100


@operation("comments.ls", needs="comments:read")
def ls(ctx: Context, cmd: AboutSubject) -> Comments:
    """Return what was said about one thing, oldest first."""
    return Comments(comments=store.of(ctx.conn, cmd.subject))


@operation("comments.mentions", needs="comments:read")
def mentions(ctx: Context, cmd: Mentions) -> Comments:
    """Return the comments that mention somebody as ``@name``, newest first; not their own."""
    return Comments(comments=store.mentioning(ctx.conn, cmd.person, cmd.limit))


@operation("comments.edit", needs="comments:write")
def edit(ctx: Context, cmd: EditComment) -> Comment:
    """Change what one's own comment says."""
    known, text = _own(ctx, cmd.comment), _said(cmd.text)
    store.edit(ctx.conn, known.id, text, rules.mentioned(text), ctx.now)
    return msgspec.structs.replace(known, text=text, edited_at=ctx.now)


@operation("comments.drop", needs="comments:write")
def drop(ctx: Context, cmd: DropComment) -> Comment:
    """Take one's own comment back."""
    known = _own(ctx, cmd.comment)
    store.drop(ctx.conn, known.id)
    return known


def comment(ctx: Context, subject: str, text: str) -> Comment:
    """Say something about a thing that is there, in the caller's transaction.

    The event (``run.commented``, …) carries whom it mentions, so that channels can tell them; not
    the text, which can be taken back.
    """
    made = Comment(
        id=new_id("cmt", ctx.now),
        subject=subject,
        actor=ctx.actor,
        at=ctx.now,
        text=_said(text),
    )
    named = rules.mentioned(made.text)
    store.add(ctx.conn, made, named)
    noun = subject.partition(":")[0]
    record(ctx, f"{_NOUNS.get(noun, noun)}.commented", subject, comment=made.id, mentions=named)
    return made


#: Events about versions are events of their model.
_NOUNS = {"version": "model"}


def _own(ctx: Context, comment: str) -> Comment:
    known = store.get(ctx.conn, comment)
    if known.actor != ctx.actor:
        raise Denied(f"{known.actor} wrote this comment: it is not yours to change")
    return known


def _said(text: str) -> str:
    if len(text) > _TEXT_LIMIT:
        raise Invalid(f"a comment has {_TEXT_LIMIT:,} characters at most, not {len(text):,}")
    if not text.strip():
        raise Invalid("a comment needs a text", hint="a sentence that others understand later")
    return text.strip()


OPERATIONS = (ls, mentions, edit, drop)
