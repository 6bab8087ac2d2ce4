"""Searching models and versions."""

from msgspec import Struct, field

from setpoint.core.operations import Context, operation
from setpoint.errors import Invalid
from setpoint.models.registry.entities import Entry, Model
from setpoint.models.search import store

_LIMIT = 200_000  #: results of one page, as MLflow's clients may ask for


class SearchModels(Struct, frozen=True, kw_only=True):
    filter: str = ""  #: e.g. ``name ILIKE '%late%' AND tags.team = 'risk'``
    order: list[str] = field(default_factory=list)  #: e.g. ``last_updated_timestamp DESC``
    deleted: bool = False  #: find deleted ones, and only those
    limit: int = 100
    token: str = ""  #: of the page before


class FoundModels(Struct, frozen=True, kw_only=True):
    models: list[Model]
    next: str = ""  #: token of the next page; empty: there is none


class SearchVersions(Struct, frozen=True, kw_only=True):
    filter: str = ""  #: e.g. ``name = 'late' AND aliases.champion IS NOT NULL``
    order: list[str] = field(default_factory=list)  #: by default the last changed first
    deleted: bool = False
    limit: int = 100
    token: str = ""


class FoundVersions(Struct, frozen=True, kw_only=True):
    versions: list[Entry]
    next: str = ""


@operation("models.search", needs="models:read")
def search(ctx: Context, cmd: SearchModels) -> FoundModels:
    """Find models by name, description, tags, aliases and times.

    Prompts, which MLflow's clients keep among models, are found only by a filter on their
    tag ``mlflow.prompt.is_prompt``.
    """
    _check(cmd.limit)
    found, following = store.find_models(
        ctx.conn,
        cmd.filter,
        cmd.order,
        deleted=cmd.deleted,
        limit=cmd.limit,
        token=cmd.token,
    )
    return FoundModels(models=found, next=following)


@operation("models.search-versions", needs="models:read")
def search_versions(ctx: Context, cmd: SearchVersions) -> FoundVersions:
    """Find versions of any model by number, run, source, stage, tags, aliases and times."""
    _check(cmd.limit)
    found, following = store.find_versions(
        ctx.conn,
        cmd.filter,
        cmd.order,
        deleted=cmd.deleted,
        limit=cmd.limit,
        token=cmd.token,
    )
    return FoundVersions(versions=found, next=following)


def _check(limit: int) -> None:
    if not 1 <= limit <= _LIMIT:
        raise Invalid(f"a page has 1 to {_LIMIT:,} results, not {limit:,}")


OPERATIONS = (search, search_versions)
