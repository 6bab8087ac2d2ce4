"""Bringing what is newly known into a dataset: checked, once, whatever is killed when.

The order is: read what there is (database), check and split the rows, commit to Delta,
record the version (database). A process killed before the Delta commit changed nothing;
one killed after it left a commit that carries the whole record, which the next ingest
writes to the database first. Delta accepts one commit per dataset version, so of two
processes ingesting at once one writes and the other starts again from what it wrote.
"""

import io
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec
import polars as pl
from blake3 import blake3
from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.core.ids import new_id
from setpoint.core.operations import Context
from setpoint.data import checks, place, store, tables_delta
from setpoint.data.contract import Contract
from setpoint.data.entities import CheckResult, Column, DatasetVersion, Validation
from setpoint.data.names import nearest
from setpoint.errors import Conflict, Invalid
from setpoint.events.store import record

KNOWN_AT = "known_at"
_TRIES = 5

Source = pl.DataFrame | pl.LazyFrame | Callable[[datetime], pl.DataFrame | pl.LazyFrame]


class Home(Protocol):
    """What ingesting needs of a local backend."""

    engine: Engine
    settings: Settings


class _Commit(Struct, frozen=True, kw_only=True):
    """The record that travels inside a Delta commit."""

    version: DatasetVersion
    validation: Validation


def ingest(
    home: Home,
    dataset: str,
    source: Source,
    now: datetime,
    contract: Contract | None = None,
) -> DatasetVersion:
    """Append the rows of `source` that became known since the newest version.

    With a column `known_at` (aware timestamp) those are the rows with `known_at` in
    (`until` of the newest version, `now`]; without one the whole table is compared, and a
    changed table, or one that other checks are made of, replaces the one before, as a new
    version. Nothing new: nothing happens.
    Rows that fail a check of severity error are set aside (Parquet artifact with reasons)
    and are in no version; a repeated unique key fails also against the rows stored before.

    Args:
        home: The store: its engine and settings.
        dataset: The name of the dataset.
        source: The rows, or a function of the time giving all rows known by then.
        now: The time, by the store's clock.
        contract: What the rows must be.

    Returns:
        The newest version: the one just made, or the one before.

    Raises:
        Invalid: If the table is empty, a declared column is missing or has another type,
            a check of the whole table fails, or no row passes. Nothing is stored.
        Conflict: If the datasets of this database are files of another machine.
        Unavailable: If the table cannot be written.
    """
    tables_delta.folder(home.settings, dataset)
    place.claim(home.engine, home.settings, now)
    frame = _load(source, now, dataset)
    for _ in range(_TRIES):
        before = reconcile(home, dataset)
        fresh, fingerprint = _newly_known(frame, before, now, dataset, contract)
        if fresh is None and before is not None:
            return before
        if fresh is None:
            raise Invalid(
                f"no row of {dataset!r} is known by {now:%Y-%m-%d %H:%M} UTC",
                hint="check known_at and the time",
            )
        commit, rows = _prepare(home, dataset, fresh, before, now, contract, fingerprint)
        try:
            delta_version = tables_delta.append(
                home.settings,
                dataset,
                rows,
                number=commit.version.number,
                record=msgspec.json.encode(commit).decode(),
                replace=fingerprint is not None,
            )
        except Conflict:
            continue
        return _record(home, commit, delta_version)
    raise Conflict(f"dataset {dataset!r} is being written by others", hint="retry")


def reconcile(home: Home, dataset: str) -> DatasetVersion | None:
    """Record the versions that a killed ingest committed to Delta but not to the database.

    Returns:
        The newest version, None before the first.
    """
    with home.engine.execution_options(setpoint_reads=True).begin() as conn:
        newest = store.latest(conn, dataset)
    after = -1 if newest is None else newest.delta_version
    for delta_version, text in tables_delta.commits(home.settings, dataset, after):
        commit = msgspec.json.decode(text, type=_Commit)
        newest = _record(home, commit, delta_version)
    return newest


def _load(source: Source, now: datetime, dataset: str) -> pl.LazyFrame:
    frame = source(now) if callable(source) else source
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        raise Invalid(
            f"the source of {dataset!r} gave {type(frame).__name__}",
            hint="return a polars DataFrame or LazyFrame",
        )
    return frame.lazy()


def _newly_known(
    frame: pl.LazyFrame,
    before: DatasetVersion | None,
    now: datetime,
    dataset: str,
    contract: Contract | None,
) -> tuple[pl.DataFrame | None, str | None]:
    """Do as `_fresh` does; what only shows when the table is read is told as its fault."""
    try:
        return _fresh(frame, before, now, dataset, contract)
    except pl.exceptions.PolarsError as error:
        said = " ".join(str(error).split())[:300]
        raise Invalid(
            f"the table {dataset!r} cannot be read: {said}",
            hint=f"look at the source of {dataset!r}: a file may be damaged, or no UTF-8",
        ) from error


def _fresh(
    frame: pl.LazyFrame,
    before: DatasetVersion | None,
    now: datetime,
    dataset: str,
    contract: Contract | None,
) -> tuple[pl.DataFrame | None, str | None]:
    """Return the rows newly known, or None; and the fingerprint, without `known_at`."""
    dtype = frame.collect_schema().get(KNOWN_AT)
    if dtype is None:
        whole = frame.collect()
        fingerprint = _fingerprint(whole, contract)
        same = before is not None and before.fingerprint == fingerprint
        if whole.is_empty():
            raise Invalid(f"the table {dataset!r} is empty: it has no rows")
        return (None if same else whole), fingerprint
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        raise Invalid(
            f"{KNOWN_AT} of {dataset!r} is {dtype}: it must be a timestamp with time zone",
            hint=f"pl.col({KNOWN_AT!r}).dt.replace_time_zone('UTC')",
        )
    known = pl.col(KNOWN_AT)
    wanted = known.is_null() | (known <= now)
    if before is not None:
        wanted = known.is_null() | ((known > before.until) & (known <= now))
    fresh = frame.filter(wanted).collect()
    if unknown := fresh[KNOWN_AT].null_count():
        raise Invalid(
            f"{unknown:,} rows of {dataset!r} have no {KNOWN_AT}",
            hint="a row that is not known yet must not be in the source",
        )
    return (None if fresh.is_empty() else fresh), None


def _prepare(
    home: Home,
    dataset: str,
    fresh: pl.DataFrame,
    before: DatasetVersion | None,
    now: datetime,
    contract: Contract | None,
    fingerprint: str | None,
) -> tuple[_Commit, pl.DataFrame]:
    if all(fresh[c].null_count() == fresh.height for c in fresh.columns if c != KNOWN_AT):
        raise Invalid(f"the table {dataset!r} has only nulls in its {fresh.height:,} rows")
    number = 1 if before is None else before.number + 1
    report = checks.Report(rows=fresh.height, checks=[], undeclared=[])
    good, bad = fresh, fresh.clear()
    if contract is not None:
        report = checks.check(fresh.lazy(), contract)
        good, bad, report = _split(
            home.settings, dataset, fresh, report, contract, before, fingerprint
        )
    good = tables_delta.storable(_typed(good, contract))
    if before is not None and fingerprint is None:
        _same_columns(good, before)
    validation = Validation(
        id=new_id("val", now),
        dataset=dataset,
        number=number,
        at=now,
        rows=fresh.height,
        set_aside=bad.height,
        checks=report.checks,
        contract=None if contract is None else f"{contract.name} {contract.version}",
        failing_rows=_keep(home.settings, bad) if bad.height else None,
        notes=[f"not in the contract: {', '.join(report.undeclared)}"] if report.undeclared else [],
    )
    kept = 0 if before is None or fingerprint else before.rows
    version = DatasetVersion(
        dataset=dataset,
        number=number,
        delta_version=-1,  # known when it is committed
        rows=kept + good.height,
        added=good.height,
        set_aside=bad.height,
        created_at=now,
        until=now,
        columns=[Column(name=n, type=str(t)) for n, t in good.schema.items()],
        validation_id=validation.id,
        fingerprint=fingerprint,
    )
    return _Commit(version=version, validation=validation), good


def _split(
    settings: Settings,
    dataset: str,
    fresh: pl.DataFrame,
    report: checks.Report,
    contract: Contract,
    before: DatasetVersion | None,
    fingerprint: str | None,
) -> tuple[pl.DataFrame, pl.DataFrame, checks.Report]:
    failed = [
        (rule, result)
        for rule, result in zip(contract.rules, report.checks, strict=True)
        if not result.passed and rule.severity == "error"
    ]
    for rule, result in failed:
        if rule.kind in ("rowCount", "sql"):
            raise Invalid(
                f"{dataset!r} fails its contract: {rule.name} is {result.detail}",
                where=contract.where,
            )
    good, bad = checks.failing(fresh, [rule for rule, _ in failed])
    extra: list[CheckResult] = []
    if before is not None and fingerprint is None:
        stored = tables_delta.read(settings, dataset, before.delta_version)
        for keys in contract.keys:
            good, repeated, result = _not_again(good, stored, keys)
            bad = pl.concat([bad, repeated])
            extra.append(result)
    if good.is_empty() and before is None:
        reasons = bad[checks.REASONS].explode().value_counts(sort=True).rows()[:3]
        said = "; ".join(f"{reason}: {count:,} fail" for reason, count in reasons)
        raise Invalid(
            f"none of the {fresh.height:,} rows of {dataset!r} passes its contract: {said}",
            where=contract.where,
        )
    return good, bad, msgspec.structs.replace(report, checks=report.checks + extra)


def _not_again(
    good: pl.DataFrame, stored: pl.LazyFrame, keys: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame, CheckResult]:
    """Set aside rows whose key is stored already."""
    name = f"{', '.join(keys)} is not stored already"
    seen = (
        stored.select(keys).join(good.lazy().select(keys), on=keys, how="semi").unique().collect()
    )
    again = good.join(seen, on=keys, how="semi")
    reasons = pl.Series(checks.REASONS, [[name]] * again.height, dtype=pl.List(pl.String))
    result = CheckResult(
        name=name,
        column=", ".join(keys),
        passed=again.is_empty(),
        failing=again.height,
        total=good.height,
    )
    return (
        good.join(seen, on=keys, how="anti", maintain_order="left"),
        again.with_columns(reasons),
        result,
    )


def _same_columns(frame: pl.DataFrame, before: DatasetVersion) -> None:
    """Check that the rows fit the table: new columns may come, none may go or change type.

    Raises:
        Invalid: If a column is missing or has another type than in `before`.
    """
    for column in before.columns:
        dtype = frame.schema.get(column.name)
        if dtype is None:
            raise Invalid(
                f"new rows of {before.dataset!r} lack its column {column.name!r}",
                hint=nearest(column.name, frame.columns),
            )
        if str(dtype) != column.type:
            raise Invalid(
                f"{column.name!r} of {before.dataset!r} was {column.type}, now is {dtype}",
                hint="cast it in the source; a dataset keeps its types",
            )


def _typed(frame: pl.DataFrame, contract: Contract | None) -> pl.DataFrame:
    """Give an all-null column the type that the contract declares."""
    types = {} if contract is None else contract.types
    kinds: dict[str, pl.DataType] = {
        "string": pl.String(),
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
        "timestamp": pl.Datetime("us", "UTC"),
    }
    return frame.with_columns(
        pl.col(name).cast(kinds[types[name] or ""])
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Null) and types.get(name) in kinds
    )


def _keep(settings: Settings, bad: pl.DataFrame) -> str:
    buffer = io.BytesIO()
    bad.write_parquet(buffer)
    return open_store(settings).put(buffer.getvalue())


def _record(home: Home, commit: _Commit, delta_version: int) -> DatasetVersion:
    """Write the version, its report and its event, unless they are written."""
    version = msgspec.structs.replace(commit.version, delta_version=delta_version)
    try:
        _write(home, version, commit.validation)
    except IntegrityError:  # another process adopted the same commit in this moment
        with home.engine.execution_options(setpoint_reads=True).begin() as conn:
            store.get(conn, version.dataset, version.number)
    return version


def _write(home: Home, version: DatasetVersion, validation: Validation) -> None:
    with home.engine.begin() as conn:
        if not store.add(conn, version, validation):
            return
        ctx = Context(
            conn=conn,
            actor=home.settings.actor,
            now=version.created_at,
            settings=home.settings,
        )
        failed = {c.name: c.failing for c in validation.checks if not c.passed}
        record(
            ctx,
            "dataset.ingested",
            version.ref,
            added=version.added,
            rows=version.rows,
            set_aside=version.set_aside,
            failed=failed,
            validation=validation.id,
        )


def _fingerprint(frame: pl.DataFrame, contract: Contract | None) -> str:
    """Return what tells a table, and what it is checked by, from others."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    found = blake3(buffer.getbuffer())
    if contract is not None:
        found.update(contract.identity.encode())
    return found.hexdigest()
