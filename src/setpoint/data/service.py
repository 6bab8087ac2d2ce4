"""What one can ask about datasets. Ingesting is long work: `data.ingest`."""

from msgspec import Struct

from setpoint.core.operations import Context, operation
from setpoint.data import store
from setpoint.data.entities import DatasetVersion, Validation


class ListDatasets(Struct, frozen=True, kw_only=True):
    dataset: str | None = None  #: list this one's versions instead of all datasets
    limit: int = 100


class Datasets(Struct, frozen=True, kw_only=True):
    datasets: list[DatasetVersion]


class ShowDataset(Struct, frozen=True, kw_only=True):
    dataset: str
    number: int | None = None  #: the newest if None


class Dataset(Struct, frozen=True, kw_only=True):
    """A dataset version with the report on the rows that made it."""

    version: DatasetVersion
    validation: Validation


@operation("data.ls", needs="data:read")
def ls(ctx: Context, cmd: ListDatasets) -> Datasets:
    """List the newest version of every dataset, or all versions of one."""
    if cmd.dataset is None:
        return Datasets(datasets=store.newest_of_each(ctx.conn)[: cmd.limit])
    store.get(ctx.conn, cmd.dataset)
    return Datasets(datasets=store.versions(ctx.conn, cmd.dataset, limit=cmd.limit))


@operation("data.show", needs="data:read")
def show(ctx: Context, cmd: ShowDataset) -> Dataset:
    """Show one dataset version and what its contract found."""
    version = store.get(ctx.conn, cmd.dataset, cmd.number)
    return Dataset(
        version=version,
        validation=store.validation(ctx.conn, version.dataset, version.number),
    )


@operation("data.validate", needs="data:read")
def validate(ctx: Context, cmd: ShowDataset) -> Validation:
    """Show the recorded report of a dataset version's contract, check by check."""
    version = store.get(ctx.conn, cmd.dataset, cmd.number)
    return store.validation(ctx.conn, version.dataset, version.number)


OPERATIONS = (ls, show, validate)
