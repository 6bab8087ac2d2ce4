"""What one can do with models as entries of a registry. One transaction each."""

import msgspec
from msgspec import UNSET

from setpoint.core.ids import new_id
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events.store import record
from setpoint.models import store as versions
from setpoint.models.entities import ModelVersion, Signature
from setpoint.models.names import model_name
from setpoint.models.registry import rules, store
from setpoint.models.registry.commands import (
    AddVersion,
    CreateModel,
    DeleteModel,
    DeleteVersion,
    Latest,
    LatestVersions,
    MoveToStage,
    OneModel,
    OneVersion,
    RenameModel,
    SetTags,
    Tags,
    UpdateModel,
    UpdateVersion,
)
from setpoint.models.registry.entities import Entry, Model, Stage
from setpoint.models.review import guard

_STATUSES = ("pending", "ready", "failed")
_SHOWN = 200  #: characters of a tag's value in the record


@operation("models.create", needs="models:write")
def create(ctx: Context, cmd: CreateModel) -> Model:
    """Make a model that has no version yet.

    The name of a deleted model is free again. If versions of that one were trained here, it
    is the same model and numbers go on, since releases and predictions speak of them.
    """
    rules.check_tags(cmd.tags)
    known = store.find(ctx.conn, model_name(cmd.model), lock=True)
    if known is not None and known.deleted_at is None:
        raise _taken(cmd.model)
    if known is not None and rules.keeps_name(store.all_versions(ctx.conn, cmd.model)):
        store.change(
            ctx.conn,
            cmd.model,
            deleted_at=None,
            description=cmd.description,
            updated_at=ctx.now,
        )
        store.put_tags(ctx.conn, cmd.model, 0, cmd.tags)
    else:
        if known is not None:
            store.rename(ctx.conn, cmd.model, new_id(f"{cmd.model}~deleted", ctx.now), ctx.now)
        model = Model(
            model=cmd.model,
            versions=0,
            created_at=ctx.now,
            updated_at=ctx.now,
            description=cmd.description,
            tags=cmd.tags,
        )
        if not store.add(ctx.conn, model):
            raise _taken(cmd.model)
    made = store.get(ctx.conn, cmd.model)
    record(ctx, "model.created", made.ref, description=_short(cmd.description))
    return made


@operation("models.about", needs="models:read")
def about(ctx: Context, cmd: OneModel) -> Model:
    """Return what is said of a model as a whole: description, tags, aliases, rule of keeping."""
    return store.get(ctx.conn, cmd.model)


@operation("models.update", needs="models:write")
def update(ctx: Context, cmd: UpdateModel) -> Model:
    """Change a model's description, or the rule of which versions stay."""
    model = store.get(ctx.conn, cmd.model, lock=True)
    changed: dict[str, object] = {}
    if cmd.description is not UNSET:
        changed["description"] = cmd.description
    if cmd.keep is not UNSET:
        if cmd.keep is not None and not rules.holds(cmd.keep):
            raise Invalid("keep 1 version, or 1 day, or more", hint="or none: every version stays")
        changed["keep"] = cmd.keep
    store.change(ctx.conn, cmd.model, **changed, updated_at=ctx.now)
    said = {
        name: _short(value) if isinstance(value, str) else value for name, value in changed.items()
    }
    record(ctx, "model.updated", model.ref, **said)
    return store.get(ctx.conn, cmd.model)


@operation("models.rename", needs="models:write")
def rename(ctx: Context, cmd: RenameModel) -> Model:
    """Give a model another name, unless it was trained here."""
    model = store.get(ctx.conn, cmd.model, lock=True)
    model_name(cmd.new)
    if rules.keeps_name(store.all_versions(ctx.conn, cmd.model)):
        raise Conflict(
            f"model {cmd.model!r} was trained here: its spec, releases and predictions name it",
            hint="describe it otherwise by its description or tags",
        )
    known = store.find(ctx.conn, cmd.new, lock=True)
    if known is not None:
        if known.deleted_at is None or rules.keeps_name(store.all_versions(ctx.conn, cmd.new)):
            raise Conflict(f"there is a model {cmd.new!r} already")
        store.rename(ctx.conn, cmd.new, new_id(f"{cmd.new}~deleted", ctx.now), ctx.now)
    store.rename(ctx.conn, cmd.model, cmd.new, ctx.now)
    record(ctx, "model.renamed", f"model:{cmd.new}", was=model.model)
    return store.get(ctx.conn, cmd.new)


@operation("models.delete", needs="models:delete")
def delete(ctx: Context, cmd: DeleteModel) -> Model:
    """Take a model and its versions out of every list; `models.purge` gives up their files."""
    model = store.get(ctx.conn, cmd.model, lock=True)
    if rules.keeps_name(store.all_versions(ctx.conn, cmd.model)):
        _refuse_serving(model, None)
    guard.require_free(ctx.conn, model.model, model.aliases)
    store.delete_versions(ctx.conn, cmd.model, ctx.now)
    store.change(ctx.conn, cmd.model, deleted_at=ctx.now, updated_at=ctx.now)
    record(ctx, "model.deleted", model.ref, reason=cmd.reason)
    return msgspec.structs.replace(model, deleted_at=ctx.now)


@operation("models.restore", needs="models:write")
def restore(ctx: Context, cmd: OneModel) -> Model:
    """Bring a deleted model back, with the versions that went with it."""
    model = store.find(ctx.conn, cmd.model, lock=True)
    if model is None:
        raise NotFound(f"no model {cmd.model!r}, deleted or not")
    if model.deleted_at is None:
        return model
    store.restore_versions(ctx.conn, cmd.model, model.deleted_at, ctx.now)
    store.change(ctx.conn, cmd.model, deleted_at=None, updated_at=ctx.now)
    record(ctx, "model.restored", model.ref)
    return store.get(ctx.conn, cmd.model)


@operation("models.add-version", needs="models:write")
def add_version(ctx: Context, cmd: AddVersion) -> Entry:
    """Register a version whose files are elsewhere; the model must be there.

    A number that it asks for is given to it, unless numbers have come that far already.
    """
    rules.check_tags(cmd.tags)
    _check_status(cmd.status)
    store.get(ctx.conn, cmd.model)
    number = max(versions.lock(ctx.conn, cmd.model, ctx.now) + 1, cmd.number)
    version = ModelVersion(
        model=cmd.model,
        number=number,
        run_id=cmd.run_id,
        why=cmd.why,
        created_at=ctx.now,
        updated_at=ctx.now,
        flavor="",
        artifact="",
        signature=Signature(inputs=[]),
        metrics=cmd.metrics,
        source=cmd.source,
        run_link=cmd.run_link,
        logged_model=cmd.logged_model,
        description=cmd.description,
        status=cmd.status,
        status_message=cmd.status_message,
        stage=cmd.stage.value,
    )
    versions.add(ctx.conn, version)
    store.put_tags(ctx.conn, cmd.model, number, cmd.tags)
    detail = {"run": cmd.run_id, "why": cmd.why, "source": cmd.source}
    record(ctx, "model.registered", version.ref, **detail)
    return store.get_entry(ctx.conn, cmd.model, number)


@operation("models.version", needs="models:read")
def version(ctx: Context, cmd: OneVersion) -> Entry:
    """Return one version that is not deleted, with its tags and aliases."""
    return store.get_entry(ctx.conn, cmd.model, cmd.number)


@operation("models.latest", needs="models:read")
def latest(ctx: Context, cmd: LatestVersions) -> Latest:
    """Return the newest version in every stage, of each of several models."""
    return Latest(versions=store.latest(ctx.conn, cmd.models))


@operation("models.update-version", needs="models:write")
def update_version(ctx: Context, cmd: UpdateVersion) -> Entry:
    """Change the description or the status of a version."""
    found = store.get_entry(ctx.conn, cmd.model, cmd.number).version
    if cmd.status is not UNSET:
        _check_status(cmd.status)
    fields = {"description": cmd.description, "status": cmd.status}
    fields |= {"status_message": cmd.status_message}
    changed = {name: value for name, value in fields.items() if value is not UNSET}
    store.change_version(ctx.conn, cmd.model, cmd.number, **changed, updated_at=ctx.now)
    said = {name: _short(str(value)) for name, value in changed.items()}
    record(ctx, "model.version_updated", found.ref, **said)
    return store.get_entry(ctx.conn, cmd.model, cmd.number)


@operation("models.stage", needs="models:write")
def move_to_stage(ctx: Context, cmd: MoveToStage) -> Entry:
    """Move a version to one of MLflow's stages; aliases are the way of today."""
    if cmd.archive and cmd.stage not in {Stage.STAGING, Stage.PRODUCTION}:
        raise Invalid(
            f"moving to {cmd.stage} archives nothing",
            hint="archive with Staging or Production",
        )
    store.get(ctx.conn, cmd.model, lock=True)
    found = store.get_entry(ctx.conn, cmd.model, cmd.number).version
    archived = []
    if cmd.archive:
        others = store.in_stage(ctx.conn, cmd.model, cmd.stage)
        archived = [number for number in others if number != cmd.number]
    for number in archived:
        store.change_version(
            ctx.conn, cmd.model, number, stage=Stage.ARCHIVED.value, updated_at=ctx.now
        )
    store.change_version(ctx.conn, cmd.model, cmd.number, stage=cmd.stage.value, updated_at=ctx.now)
    store.change(ctx.conn, cmd.model, updated_at=ctx.now)
    detail = {"was": found.stage, "stage": cmd.stage, "archived": archived}
    record(ctx, "model.staged", found.ref, **detail)
    return store.get_entry(ctx.conn, cmd.model, cmd.number)


@operation("models.delete-version", needs="models:delete")
def delete_version(ctx: Context, cmd: DeleteVersion) -> Entry:
    """Take a version out of every list, and aliases from it; `models.purge` gives up its files."""
    model = store.get(ctx.conn, cmd.model, lock=True)
    entry = store.get_entry(ctx.conn, cmd.model, cmd.number)
    if entry.version.trained_here:
        _refuse_serving(model, cmd.number)
    guard.require_free(ctx.conn, cmd.model, entry.aliases)
    for name in entry.aliases:
        versions.drop_alias(ctx.conn, cmd.model, name, number=cmd.number)
        reason = "its version was deleted"
        detail = {"alias": name, "was": cmd.number, "reason": reason}
        record(ctx, "model.alias_dropped", entry.version.ref, **detail)
    store.change_version(ctx.conn, cmd.model, cmd.number, deleted_at=ctx.now, updated_at=ctx.now)
    store.change(ctx.conn, cmd.model, updated_at=ctx.now)
    record(ctx, "model.version_deleted", entry.version.ref, reason=cmd.reason)
    return entry


@operation("models.restore-version", needs="models:write")
def restore_version(ctx: Context, cmd: OneVersion) -> Entry:
    """Bring a deleted version back, as long as its files were not given up."""
    store.get(ctx.conn, cmd.model)
    found = versions.get(ctx.conn, cmd.model, cmd.number)
    if found.purged_at is not None:
        raise Conflict(f"the files of {cmd.model}/{cmd.number} were given up: it cannot come back")
    if found.deleted_at is not None:
        store.change_version(ctx.conn, cmd.model, cmd.number, deleted_at=None, updated_at=ctx.now)
        record(ctx, "model.version_restored", found.ref)
    return store.get_entry(ctx.conn, cmd.model, cmd.number)


@operation("models.tag", needs="models:write")
def tag(ctx: Context, cmd: SetTags) -> Tags:
    """Set and remove tags of a model or of one of its versions."""
    rules.check_tags(cmd.tags)
    model = store.get(ctx.conn, cmd.model)
    subject = model.ref
    if cmd.number:
        subject = store.get_entry(ctx.conn, cmd.model, cmd.number).version.ref
    store.put_tags(ctx.conn, cmd.model, cmd.number, cmd.tags)
    gone = store.drop_tags(ctx.conn, cmd.model, cmd.number, cmd.untag)
    for key, value in cmd.tags.items():
        record(ctx, "model.tagged", subject, key=key, value=_short(value))
    for key in gone:
        record(ctx, "model.untagged", subject, key=key)
    if not cmd.number and (cmd.tags or gone):
        store.change(ctx.conn, cmd.model, updated_at=ctx.now)
    return Tags(tags=store.tags(ctx.conn, cmd.model, cmd.number))


def _taken(model: str) -> Conflict:
    return Conflict(f"there is a model {model!r} already", hint="add a version to it")


def _refuse_serving(model: Model, number: int | None) -> None:
    """Refuse to delete what answers requests, or is about to."""
    for name, names in model.aliases.items():
        if rules.serves(name) and number in {None, names}:
            raise Conflict(
                f"version {names} of {model.model!r} is {name}: it serves or is about to",
                hint="release another version first, or end its test",
            )


def _check_status(status: str) -> None:
    if status not in _STATUSES:
        raise Invalid(f"there is no status {status!r}", hint=f"one of {', '.join(_STATUSES)}")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


OPERATIONS = (
    create,
    about,
    update,
    rename,
    delete,
    restore,
    add_version,
    version,
    latest,
    update_version,
    move_to_stage,
    delete_version,
    restore_version,
    tag,
)
