"""Starting releases by the spec in force: its policy, and the approval it asks for."""

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from setpoint.control import store
from setpoint.control.inforce import spec_of
from setpoint.control.policies import release_policy
from setpoint.control.spec.entities import Spec
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events.store import record
from setpoint.models import store as models
from setpoint.models.entities import ModelVersion
from setpoint.releases import service as releases
from setpoint.releases.by_hand import put_live
from setpoint.releases.entities import Release
from setpoint.serve import naming
from setpoint.serve import store as serving
from setpoint.serve.entities import Role
from setpoint.serve.polling import store as polling


class StartRelease(Struct, frozen=True, kw_only=True):
    model: str
    version: int
    reason: str  #: why this version, for the record


@operation("releases.start", needs="releases:write")
def start(ctx: Context, cmd: StartRelease) -> Release:
    """Begin to release a version by the spec in force; it waits where that asks for approval.

    Starting the version whose release is open returns that release.
    """
    spec = spec_of(store.need(ctx.conn, cmd.model))
    return begin(ctx, spec, cmd.version, why=cmd.reason)


class Deploy(Struct, frozen=True, kw_only=True):
    model: str
    version: int
    reason: str  #: why this version, and why without a release in stages; for the record


@operation("releases.deploy", needs="releases:write")
def deploy(ctx: Context, cmd: Deploy) -> Release:
    """Put a version of a model that no spec holds before all its traffic, at once.

    A version that was brought in has no gate: who deploys it answers for it, on record.
    Deploying the version that is live changes nothing.

    Raises:
        Conflict: If a spec is in force for the model, its gate refused the version, or a release
            of it is open.
    """
    if store.applied(ctx.conn, cmd.model) is not None:
        raise Conflict(
            f"a spec holds {cmd.model!r}: its versions are released in stages",
            hint=f"setpoint releases start {cmd.model} {cmd.version} --reason TEXT",
        )
    return put_live(ctx, cmd.model, cmd.version, reason=cmd.reason)


class Serve(Struct, frozen=True, kw_only=True):
    model: str
    versions: (
        str  #: such as ``latest 2``, ``all``, ``1, 4`` or an alias; empty: only those deployed
    )
    reason: str  #: why they should be at hand; for the record


class Nameable(Struct, frozen=True, kw_only=True):
    """Which versions of a model can be asked for by number or alias, besides those deployed."""

    model: str
    versions: str  #: as it was said, in one spelling
    numbers: list[int]  #: that it means now
    labels: dict[str, int]  #: aliases that name some of those, now


@operation("releases.serve", needs="releases:write")
def serve(ctx: Context, cmd: Serve) -> Nameable:
    """Have versions of a model that no spec holds answer who asks for them by number or alias.

    They answer nobody else, and servers load them when they are asked. What is deployed stays.

    Raises:
        Invalid: If the versions cannot be understood, or there is no reason.
        NotFound: If there is no such model.
        Conflict: If a spec is in force for the model, which says it.
    """
    if not cmd.reason.strip():
        raise Invalid("serving versions needs a reason", hint="give it with --reason TEXT")
    if store.applied(ctx.conn, cmd.model) is not None:
        raise Conflict(
            f"a spec holds {cmd.model!r}: it says which versions can be named",
            hint=f"write serve: {{versions: {cmd.versions or 'latest 2'}}} into it and apply it",
        )
    policy = naming.read(cmd.versions)
    models.lock(ctx.conn, cmd.model, ctx.now)
    said = naming.written(policy)
    settings = replace(serving.settings_of(ctx.conn, cmd.model), versions=said)
    serving.configure(ctx.conn, cmd.model, settings)
    known = polling.could_serve(ctx.conn, [cmd.model]).get(cmd.model)
    if known is None:
        raise NotFound(f"no version of {cmd.model!r} is here", hint="setpoint models ls lists them")
    aliases = polling.aliases(ctx.conn, [cmd.model]).get(cmd.model, {})
    names = naming.chosen(policy, known, aliases)
    detail = {"versions": said, "reason": cmd.reason.strip()}
    record(ctx, "model.versions_served", f"model:{cmd.model}", **detail)
    return Nameable(
        model=cmd.model, versions=said, numbers=list(names.numbers), labels=names.labels
    )


def begin(ctx: Context, spec: Spec, version: int, *, why: str) -> Release:
    """Begin to release a version of `spec`'s model, in the caller's transaction."""
    new = models.get(ctx.conn, spec.model, version)
    live = live_version(ctx.conn, spec.model)
    policy = release_policy(spec, live, changed=is_changed(ctx.conn, new, live))
    return releases.start(
        ctx, releases.Start(model=spec.model, version=version, policy=policy, reason=why)
    )


def live_version(conn: Connection, model: str) -> ModelVersion | None:
    """Return the version that answers, None before the first."""
    deployed = serving.deployments(conn, model)
    return next(
        (models.get(conn, model, one.version) for one in deployed if one.role is Role.LIVE), None
    )


def is_changed(conn: Connection, new: ModelVersion, live: ModelVersion | None) -> bool:
    """Tell whether `new` was made by another spec, or other code, than the live version.

    A version whose making is not on record, such as one registered by hand, counts as
    changed: nobody can have approved of what made it.
    """
    if live is None or not new.spec or new.spec != live.spec:
        return True
    jobs = [store.job_of_version(conn, one.model, one.number) for one in (new, live)]
    before = jobs[1]
    return jobs[0] is None or before is None or jobs[0].training != before.training


OPERATIONS = (start, deploy, serve)
