"""Comparing versions."""

from msgspec import Struct

from setpoint.core.operations import Context, operation
from setpoint.models import store
from setpoint.models.compare.rules import Change, changes
from setpoint.models.entities import ModelVersion
from setpoint.runs.entities import Run
from setpoint.runs.store import runs


class DiffVersions(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    other: int
    other_model: str = ""  #: empty: the same model


class VersionDiff(Struct, frozen=True, kw_only=True):
    first: str  #: ``version:NAME/NUMBER``
    second: str
    changes: list[Change]
    unknown: list[str]  #: versions whose run is not known here: no params and no code of theirs


@operation("models.diff", needs="models:read")
def diff(ctx: Context, cmd: DiffVersions) -> VersionDiff:
    """Return what differs between two versions: params, data, code, metrics, slices, size."""
    first = store.get(ctx.conn, cmd.model, cmd.number)
    second = store.get(ctx.conn, cmd.other_model or cmd.model, cmd.other)
    one, other = _run(ctx, first), _run(ctx, second)
    return VersionDiff(
        first=first.ref,
        second=second.ref,
        changes=changes(first, second, one, other),
        unknown=[each.ref for each, run in ((first, one), (second, other)) if run is None],
    )


def _run(ctx: Context, version: ModelVersion) -> Run | None:
    return runs.find(ctx.conn, version.run_id) if version.run_id else None


OPERATIONS = (diff,)
