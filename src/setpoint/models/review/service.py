"""What people can decide and say about versions. One transaction each."""

import msgspec
from msgspec import Struct

from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Denied, Invalid, NotFound
from setpoint.events.store import record
from setpoint.models.names import alias_name
from setpoint.models.registry import store as registry
from setpoint.models.review import rules, store
from setpoint.models.review.entities import Approval, Comment, Protection

_TEXT_LIMIT = 20_000  #: characters of a comment


class Decide(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    role: str
    approved: bool = True  #: or rejected
    reason: str


class AboutVersion(Struct, frozen=True, kw_only=True):
    model: str
    number: int | None = None  #: None: all of the model; 0: the model itself


class Approvals(Struct, frozen=True, kw_only=True):
    approvals: list[Approval]  #: newest first
    standing: dict[str, bool]  #: by role: whether its newest decision approves; of one version


class Protect(Struct, frozen=True, kw_only=True):
    model: str
    alias: str
    roles: list[str]  #: each must have approved a version; none: the alias does not move by hand
    reason: str


class Unprotect(Struct, frozen=True, kw_only=True):
    model: str
    alias: str
    reason: str


class ProtectedAliases(Struct, frozen=True, kw_only=True):
    model: str


class Protections(Struct, frozen=True, kw_only=True):
    protections: list[Protection]


class AddComment(Struct, frozen=True, kw_only=True):
    model: str
    number: int = 0  #: 0: about the model itself
    text: str  #: Markdown


class EditComment(Struct, frozen=True, kw_only=True):
    comment: str
    text: str


class DropComment(Struct, frozen=True, kw_only=True):
    comment: str


class Comments(Struct, frozen=True, kw_only=True):
    comments: list[Comment]  #: oldest first


@operation("models.approve", needs="models:approve")
def approve(ctx: Context, cmd: Decide) -> Approval:
    """Approve or reject a version, for a role and with a reason; a later decision replaces it."""
    version = registry.get_entry(ctx.conn, cmd.model, cmd.number).version
    approval = Approval(
        id=new_id("apv", ctx.now),
        model=cmd.model,
        number=cmd.number,
        role=_required(cmd.role, "a decision needs a role", "--role"),
        approved=cmd.approved,
        actor=ctx.actor,
        at=ctx.now,
        reason=_required(cmd.reason, "a decision needs a reason", "--reason"),
    )
    store.add_approval(ctx.conn, approval)
    kind = "model.approved" if cmd.approved else "model.rejected"
    record(ctx, kind, version.ref, role=approval.role, reason=approval.reason)
    return approval


@operation("models.approvals", needs="models:read")
def approvals(ctx: Context, cmd: AboutVersion) -> Approvals:
    """Return the decisions about a version, or about every version of a model."""
    found = store.approvals(ctx.conn, cmd.model, cmd.number)
    held = {} if cmd.number is None else rules.standing(found)
    return Approvals(
        approvals=found, standing={role: each.approved for role, each in sorted(held.items())}
    )


@operation("models.protect", needs="models:protect")
def protect(ctx: Context, cmd: Protect) -> Protection:
    """Let an alias move by hand only to versions that some roles have approved."""
    model = registry.get(ctx.conn, cmd.model, lock=True)
    protection = Protection(
        model=cmd.model,
        alias=alias_name(cmd.alias),
        roles=sorted({_required(role, "a role needs a name", "--role") for role in cmd.roles}),
        actor=ctx.actor,
        at=ctx.now,
        reason=_required(cmd.reason, "a protection needs a reason", "--reason"),
    )
    store.put_protection(ctx.conn, protection)
    detail = {"alias": cmd.alias, "roles": protection.roles, "reason": cmd.reason}
    record(ctx, "model.alias_protected", model.ref, **detail)
    return protection


@operation("models.unprotect", needs="models:protect")
def unprotect(ctx: Context, cmd: Unprotect) -> Protections:
    """Lift the protection of an alias; return those that stay."""
    model = registry.get(ctx.conn, cmd.model, lock=True)
    reason = _required(cmd.reason, "lifting a protection needs a reason", "--reason")
    if not store.drop_protection(ctx.conn, cmd.model, cmd.alias):
        raise NotFound(f"alias {cmd.alias!r} of {cmd.model!r} is not protected")
    record(ctx, "model.alias_unprotected", model.ref, alias=cmd.alias, reason=reason)
    return Protections(protections=store.protections(ctx.conn, cmd.model))


@operation("models.protections", needs="models:read")
def protections(ctx: Context, cmd: ProtectedAliases) -> Protections:
    """Return the protected aliases of a model."""
    return Protections(protections=store.protections(ctx.conn, cmd.model))


@operation("models.comment", needs="models:write")
def comment(ctx: Context, cmd: AddComment) -> Comment:
    """Say something about a model or one of its versions."""
    subject = registry.get(ctx.conn, cmd.model).ref
    if cmd.number:
        subject = registry.get_entry(ctx.conn, cmd.model, cmd.number).version.ref
    made = Comment(
        id=new_id("cmt", ctx.now),
        model=cmd.model,
        number=cmd.number,
        actor=ctx.actor,
        at=ctx.now,
        text=_said(cmd.text),
    )
    store.add_comment(ctx.conn, made)
    record(ctx, "model.commented", subject, comment=made.id)
    return made


@operation("models.edit-comment", needs="models:write")
def edit_comment(ctx: Context, cmd: EditComment) -> Comment:
    """Change what one's own comment says."""
    known = _own(ctx, cmd.comment)
    text = _said(cmd.text)
    store.edit_comment(ctx.conn, known.id, text, ctx.now)
    return msgspec.structs.replace(known, text=text, edited_at=ctx.now)


@operation("models.uncomment", needs="models:write")
def uncomment(ctx: Context, cmd: DropComment) -> Comment:
    """Take one's own comment back."""
    known = _own(ctx, cmd.comment)
    store.drop_comment(ctx.conn, known.id)
    return known


@operation("models.comments", needs="models:read")
def comments(ctx: Context, cmd: AboutVersion) -> Comments:
    """Return what was said about a version, the model itself, or both."""
    return Comments(comments=store.comments(ctx.conn, cmd.model, cmd.number))


def _own(ctx: Context, comment: str) -> Comment:
    known = store.get_comment(ctx.conn, comment)
    if known.actor != ctx.actor:
        raise Denied(f"{known.actor} wrote this comment: it is not yours to change")
    return known


def _said(text: str) -> str:
    if len(text) > _TEXT_LIMIT:
        raise Invalid(f"a comment has {_TEXT_LIMIT:,} characters at most, not {len(text):,}")
    return _required(text, "a comment needs a text", "TEXT")


def _required(text: str, message: str, option: str) -> str:
    if not text.strip():
        raise Invalid(message, hint=f"give it with {option}")
    return text.strip()


OPERATIONS = (
    approve,
    approvals,
    protect,
    unprotect,
    protections,
    comment,
    edit_comment,
    uncomment,
    comments,
)
