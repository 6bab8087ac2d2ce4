"""Delta Lake tables: one folder a dataset, change data feed on, each commit one version.

A commit names the dataset version it makes as an application transaction of the Delta
protocol, so two writers can never commit the same version twice, and carries our record of
it, so a writer killed between the commit and the database loses nothing.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from setpoint.config import Settings
from setpoint.errors import Conflict, Invalid, NotFound, Unavailable

_APP = "setpoint"
_RECORD = "setpoint"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SIGNED: dict[pl.DataType, type[pl.DataType]] = {
    pl.UInt8(): pl.Int16,
    pl.UInt16(): pl.Int32,
    pl.UInt32(): pl.Int64,
    pl.UInt64(): pl.Int64,
}


def append(
    settings: Settings,
    dataset: str,
    frame: pl.DataFrame,
    *,
    number: int,
    record: str = "",
    replace: bool = False,
) -> int:
    """Commit `frame` to the table of `dataset` as its version `number`.

    Args:
        settings: Say where the tables are.
        dataset: Letters, digits, ``_``, ``.`` and ``-``.
        frame: Rows to add, in `storable` types; a new column is null in the rows before.
        number: The dataset version this commit makes; committed at most once.
        record: What `commits` gives back for this commit.
        replace: Whether the rows take the place of those before (older versions stay).

    Returns:
        The version of the Delta table after the commit.

    Raises:
        Conflict: If another writer committed first. Nothing was written.
        Unavailable: If the table cannot be written (no space, no permission).
    """
    path = folder(settings, dataset)
    properties = CommitProperties(
        custom_metadata={_RECORD: record},
        app_transactions=[Transaction(_APP, number)],
        max_commit_retries=0,
    )
    try:
        table = _open(path) or _create(path, frame)
        if (table.transaction_version(_APP) or 0) >= number:
            raise Conflict(f"dataset {dataset!r} already has version {number}", hint="retry")
        write_deltalake(
            table,
            frame,
            mode="overwrite" if replace else "append",
            schema_mode="overwrite" if replace else "merge",
            commit_properties=properties,
        )
    except CommitFailedError:
        raise Conflict(
            f"dataset {dataset!r} was written by another process", hint="retry"
        ) from None
    except (OSError, DeltaError) as error:
        raise Unavailable(
            f"cannot write dataset {dataset!r}: {error}",
            where=str(path),
            hint="free disk space or choose another folder with --home DIR",
        ) from error
    return table.version()


def read(settings: Settings, dataset: str, delta_version: int | None = None) -> pl.LazyFrame:
    """Return the rows of one version of the Delta table, the newest if None; lazy.

    Raises:
        NotFound: If there is no such table or no such version.
    """
    path = folder(settings, dataset)
    try:
        return pl.scan_delta(DeltaTable(path, version=delta_version))
    except (TableNotFoundError, DeltaError):
        which = "" if delta_version is None else f" at Delta version {delta_version}"
        raise NotFound(
            f"no table of dataset {dataset!r}{which}",
            where=str(path),
            hint="see setpoint data ls; tables are files of the machine that made them",
        ) from None


def files(settings: Settings, dataset: str, delta_version: int) -> list[str]:
    """Return the Parquet files that hold the rows of one version of the Delta table.

    Raises:
        NotFound: If there is no such table or no such version.
    """
    read(settings, dataset, delta_version)
    return DeltaTable(folder(settings, dataset), version=delta_version).file_uris()


def commits(settings: Settings, dataset: str, after: int) -> Iterator[tuple[int, str]]:
    """Yield (Delta version, record) of each `append` newer than `after`, oldest first."""
    table = _open(folder(settings, dataset))
    if table is None or table.version() <= after:
        return
    for commit in reversed(table.history(limit=table.version() - after)):
        if commit["version"] > after and commit.get(_RECORD):
            yield commit["version"], commit[_RECORD]


def storable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` in types that Delta Lake keeps: none is unsigned or categorical.

    Raises:
        Invalid: If a column has no type (all null) or an unsigned value is too big.
    """
    casts: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Null):
            raise Invalid(
                f"column {name!r} has no type: all its values are null",
                hint=f"declare it in a contract, or pl.col({name!r}).cast(pl.Float64)",
            )
        if dtype in _SIGNED:
            casts.append(pl.col(name).cast(_SIGNED[dtype]))
        elif isinstance(dtype, pl.Categorical | pl.Enum):
            casts.append(pl.col(name).cast(pl.String))
        elif isinstance(dtype, pl.Datetime) and dtype.time_unit != "us":
            casts.append(pl.col(name).dt.cast_time_unit("us"))
    try:
        return frame.with_columns(casts)
    except pl.exceptions.InvalidOperationError as error:
        raise Invalid(f"a column cannot be stored: {error}") from None


def folder(settings: Settings, dataset: str) -> Path:
    """Return where the table of `dataset` lies.

    Raises:
        Invalid: If the name is not fit for a folder.
    """
    if not _NAME.fullmatch(dataset):
        raise Invalid(
            f"{dataset!r} is no name for a dataset",
            hint="letters, digits, '_', '.' and '-'",
        )
    return settings.tables / dataset


def _open(path: Path) -> DeltaTable | None:
    return DeltaTable(path) if DeltaTable.is_deltatable(str(path)) else None


def _create(path: Path, frame: pl.DataFrame) -> DeltaTable:
    """Make the table without rows: so every commit of rows is checked against others."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        write_deltalake(
            str(path),
            frame.clear(),
            mode="error",
            configuration={"delta.enableChangeDataFeed": "true"},
        )
    except DeltaError:
        if not DeltaTable.is_deltatable(str(path)):
            raise
    return DeltaTable(path)
