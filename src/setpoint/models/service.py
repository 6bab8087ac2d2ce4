"""What one can do with models. One function per use case, one transaction each."""

from collections.abc import Collection
from functools import partial

import msgspec
from msgspec import Struct, field

from setpoint.artifacts.store import open_store
from setpoint.core.operations import Context, operation
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events.store import record
from setpoint.models import rowset, store
from setpoint.models.entities import (
    Alias,
    Gate,
    ModelSummary,
    ModelVersion,
    Override,
    Parity,
    Part,
    Signature,
    Stored,
)
from setpoint.models.names import alias_name, model_name
from setpoint.models.registry import store as registry
from setpoint.models.review import guard


class Register(Struct, frozen=True, kw_only=True):
    """A trained model whose artifacts are already in the object store."""

    model: str
    run_id: str
    why: str
    flavor: str
    artifact: str
    signature: Signature
    onnx: str | None = None
    parity: Parity | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    gate: Gate | None = None
    card: str = ""
    reference: str | None = None
    rows: str | None = None
    background: str | None = None
    spec: str = ""
    datasets: dict[str, int] = field(default_factory=dict)
    size: int = 0
    baseline: Stored | None = None
    parts: list[Part] = field(default_factory=list)


class Which(Struct, frozen=True, kw_only=True):
    model: str
    number: int


class ShowModel(Struct, frozen=True, kw_only=True):
    model: str


class ListModels(Struct, frozen=True, kw_only=True):
    pass


class Models(Struct, frozen=True, kw_only=True):
    models: list[ModelSummary]

    def unmanaged(self, known: Collection[str]) -> list[ModelSummary]:
        """Return those with a version that can serve and that none of the `known` specs holds."""
        return [one for one in self.models if one.trained_here and one.model not in known]


class ModelDetail(Struct, frozen=True, kw_only=True):
    model: str
    aliases: dict[str, int]
    versions: list[ModelVersion]  #: newest first


class SetAlias(Struct, frozen=True, kw_only=True):
    model: str
    alias: str
    number: int
    reason: str


class OverrideGate(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    reason: str


class TrainedOn(Struct, frozen=True, kw_only=True):
    row: str  #: the id of a row, as the dataset's entity column has it
    model: str | None = None  #: look at one model only


class Trained(Struct, frozen=True, kw_only=True):
    versions: list[Which]
    incomplete: list[Which]  #: versions whose training rows were not recorded


@operation("models.register", needs="models:write")
def register(ctx: Context, cmd: Register) -> ModelVersion:
    """Add a version of a model; a run registered before returns the version it got then."""
    count = store.lock(ctx.conn, model_name(cmd.model), ctx.now)
    known = store.find_run(ctx.conn, cmd.model, cmd.run_id) if cmd.run_id else None
    if known is not None:
        return known
    fields = msgspec.structs.asdict(cmd)
    version = ModelVersion(number=count + 1, created_at=ctx.now, updated_at=ctx.now, **fields)
    store.add(ctx.conn, version)
    record(
        ctx,
        "model.registered",
        version.ref,
        run=version.run_id,
        why=version.why,
        gate=None if version.gate is None else version.gate.passed,
        onnx=version.onnx is not None,
    )
    return version


@operation("models.get", needs="models:read")
def get(ctx: Context, cmd: Which) -> ModelVersion:
    """Return one version of a model."""
    return store.get(ctx.conn, cmd.model, cmd.number)


@operation("models.ls", needs="models:read")
def ls(ctx: Context, cmd: ListModels) -> Models:  # noqa: ARG001
    """Return all models, with their aliases."""
    return Models(models=store.ls(ctx.conn))


@operation("models.show", needs="models:read")
def show(ctx: Context, cmd: ShowModel) -> ModelDetail:
    """Return one model with all its versions, newest first."""
    model = registry.get(ctx.conn, cmd.model)
    versions = store.versions(ctx.conn, cmd.model)
    return ModelDetail(model=cmd.model, aliases=model.aliases, versions=versions)


@operation("models.alias", needs="models:write")
def alias(ctx: Context, cmd: SetAlias) -> Alias:
    """Point an alias (`live`, `candidate`, …) at a version.

    A protected one moves to versions that its roles have approved only.
    """
    alias_name(cmd.alias)
    guard.require_approved(ctx.conn, cmd.model, cmd.alias, cmd.number)
    return set_alias(ctx, cmd.model, cmd.alias, cmd.number, cmd.reason)


@operation("models.override", needs="models:override")
def override(ctx: Context, cmd: OverrideGate) -> ModelVersion:
    """Let a version serve although its gate failed; who and why are recorded for good."""
    version = store.get(ctx.conn, cmd.model, cmd.number)
    if not cmd.reason.strip():
        raise Invalid("an override needs a reason", hint="give it with --reason TEXT")
    if not version.trained_here:
        raise Conflict(
            f"{cmd.model}/{cmd.number} was registered from elsewhere: there is nothing to serve",
            hint="train it here, in a project with a spec",
        )
    if version.gate is not None and version.gate.passed:
        raise Conflict(f"the gate of {cmd.model}/{cmd.number} passed: there is nothing to override")
    decision = Override(actor=ctx.actor, at=ctx.now, reason=cmd.reason)
    if store.set_override(ctx.conn, cmd.model, cmd.number, decision):
        record(ctx, "model.overridden", version.ref, reason=cmd.reason, failing=_why(version))
    return store.get(ctx.conn, cmd.model, cmd.number)


@operation("models.trained-on", needs="models:read")
def trained_on(ctx: Context, cmd: TrainedOn) -> Trained:
    """Return the versions that were trained on a row."""
    objects = open_store(ctx.settings)
    names = [cmd.model] if cmd.model else [each.model for each in store.ls(ctx.conn)]
    found, incomplete = [], []
    for version in [each for name in names for each in store.versions(ctx.conn, name)]:
        which = Which(model=version.model, number=version.number)
        if version.rows is None or not objects.has(version.rows):
            incomplete.append(which)
        elif rowset.contains(partial(objects.read, version.rows), cmd.row):
            found.append(which)
    return Trained(versions=found, incomplete=incomplete)


def set_alias(ctx: Context, model: str, alias: str, number: int, reason: str) -> Alias:
    """Point `alias` at version `number` in the caller's transaction.

    The move is an event (``model.alias_moved`` with was, number and reason); pointing it
    where it already points changes nothing and records nothing.

    Raises:
        NotFound: If there is no such version.
    """
    new = Alias(model=model, alias=alias, number=number)
    was = store.alias(ctx.conn, model, alias)
    if was == number:
        return new
    version = store.get(ctx.conn, model, number)
    if version.deleted_at is not None:
        raise NotFound(f"version {number} of model {model!r} is deleted")
    store.put_alias(ctx.conn, new)
    record(
        ctx,
        "model.alias_moved",
        version.ref,
        alias=alias,
        was=was,
        number=number,
        reason=reason,
    )
    return new


def _why(version: ModelVersion) -> list[str]:
    return ["no gate was run"] if version.gate is None else [c.name for c in version.gate.failing]


OPERATIONS = (register, get, ls, show, alias, override, trained_on)
