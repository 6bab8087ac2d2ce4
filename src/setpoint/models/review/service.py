"""What people can decide and say about versions. One transaction each."""

from msgspec import Struct

from setpoint.comments import service as comments_service
from setpoint.comments import store as comment_store
from setpoint.comments.entities import Comment
from setpoint.comments.service import Comments
from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid, NotFound
from setpoint.events.store import record
from setpoint.models.names import alias_name
from setpoint.models.registry import store as registry
from setpoint.models.review import rules, store
from setpoint.models.review.entities import Approval, Asked, Protection


class Decide(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    role: str
    approved: bool = True  #: or rejected
    reason: str


class AskApproval(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    role: str
    reason: str


class ListAsked(Struct, frozen=True, kw_only=True):
    model: str | None = None  #: of this model only


class AskedApprovals(Struct, frozen=True, kw_only=True):
    asked: list[Asked]  #: oldest first


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
    store.drop_asked(ctx.conn, cmd.model, cmd.number, approval.role)
    kind = "model.approved" if cmd.approved else "model.rejected"
    record(ctx, kind, version.ref, role=approval.role, reason=approval.reason)
    return approval


@operation("models.ask", needs="models:write")
def ask(ctx: Context, cmd: AskApproval) -> Asked:
    """Ask for a role's approval of a version; it waits until somebody decides for that role."""
    version = registry.get_entry(ctx.conn, cmd.model, cmd.number).version
    asked = Asked(
        model=cmd.model,
        number=cmd.number,
        role=_required(cmd.role, "an approval is asked of a role", "--role"),
        actor=ctx.actor,
        at=ctx.now,
        reason=_required(cmd.reason, "say why it is asked for", "--reason"),
    )
    store.put_asked(ctx.conn, asked)
    record(ctx, "model.approval_asked", version.ref, role=asked.role, reason=asked.reason)
    return asked


@operation("models.asked", needs="models:read")
def asked(ctx: Context, cmd: ListAsked) -> AskedApprovals:
    """Return the approvals of versions that were asked for and that nobody has decided yet."""
    return AskedApprovals(asked=store.asked(ctx.conn, cmd.model))


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
    return comments_service.comment(ctx, subject, cmd.text)


@operation("models.comments", needs="models:read")
def comments(ctx: Context, cmd: AboutVersion) -> Comments:
    """Return what was said about a version, the model itself, or both."""
    its, versions = f"model:{cmd.model}", f"version:{cmd.model}/"
    if cmd.number is None:
        return Comments(comments=comment_store.of(ctx.conn, its, versions))
    subject = f"{versions}{cmd.number}" if cmd.number else its
    return Comments(comments=comment_store.of(ctx.conn, subject))


def _required(text: str, message: str, option: str) -> str:
    if not text.strip():
        raise Invalid(message, hint=f"give it with {option}")
    return text.strip()


OPERATIONS = (
    approve,
    ask,
    asked,
    approvals,
    protect,
    unprotect,
    protections,
    comment,
    comments,
)
