"""What a dataset version and the report on it are. Values only."""

from datetime import datetime

from msgspec import Struct


class Owner(Struct, frozen=True, kw_only=True):
    """Whose files the tables and the prediction log are."""

    mark: str  #: of the folder, wherever it is
    host: str
    folder: str
    claimed_at: datetime


class Column(Struct, frozen=True, kw_only=True):
    name: str
    type: str  #: the Polars type, e.g. ``Int64`` or ``Datetime('us', 'UTC')``


class CheckResult(Struct, frozen=True, kw_only=True):
    """The outcome of one check of a contract on one set of rows."""

    name: str  #: the rule's name, e.g. ``origin is one of 3 values``
    column: str | None  #: None where the check is about the table
    passed: bool
    failing: int  #: rows; for a check of the table 1 or 0
    total: int  #: rows looked at
    severity: str = "error"  #: ``error`` sets the row aside, ``warning`` only counts it
    detail: str = ""  #: what was found against what was declared


class Validation(Struct, frozen=True, kw_only=True):
    """The report of checking the rows of one dataset version, before they entered it."""

    id: str
    dataset: str
    number: int  #: the dataset version these rows made
    at: datetime  #: UTC
    rows: int  #: checked
    set_aside: int  #: kept out of the table because they fail a check of severity error
    checks: list[CheckResult]
    contract: str | None = None  #: name and version of the contract; None: there was none
    failing_rows: str | None = None  #: artifact (Parquet) of the rows set aside, with reasons
    notes: list[str] = []

    @property
    def passed(self) -> bool:
        """Whether no check of severity error failed."""
        return all(check.passed or check.severity != "error" for check in self.checks)


class DatasetVersion(Struct, frozen=True, kw_only=True):
    """One immutable state of a named table."""

    dataset: str
    number: int  #: 1 for the first version of a dataset, then consecutive
    delta_version: int  #: the version of the Delta table that holds exactly these rows
    rows: int  #: in the whole table
    added: int  #: since the version before
    set_aside: int  #: failing rows kept out of this version's rows
    created_at: datetime  #: UTC, by the store's clock
    until: datetime  #: it holds what was known up to this time
    columns: list[Column]
    validation_id: str
    fingerprint: str | None = None  #: of a source without `known_at`: hash of its rows

    @property
    def ref(self) -> str:
        return f"dataset:{self.dataset}/{self.number}"
