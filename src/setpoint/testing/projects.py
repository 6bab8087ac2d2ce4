"""A project under test: its tables, features and models, as Setpoint would make them."""

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from setpoint.control import sources
from setpoint.control.project import call_by_name, function, load
from setpoint.data import checks, contract
from setpoint.errors import Invalid


class ProjectUnderTest:
    """One model's project, opened from the folder or file of its spec.

    Nothing is stored: tables are read, features and models made, in memory.

    Args:
        path: The project's folder, or a setpoint file in it.
        model: Which model, where the folder has several.
        now: The time as of which tables are read; the present by default.
    """

    def __init__(
        self, path: Path | str, model: str | None = None, now: datetime | None = None
    ) -> None:
        self.project = load(path)
        self.spec = self.project.spec(model)
        self.now = now or datetime.now(UTC)

    @cached_property
    def tables(self) -> dict[str, pl.DataFrame]:
        """Every source of the spec, by name."""
        return {
            name: sources.table(self.project, self.spec, name, self.now).collect()
            for name in self.spec.data.source
        }

    @property
    def rows(self) -> pl.DataFrame:
        """The rows that are predicted, with their labels."""
        return self.tables[self.spec.data.rows]

    def features(
        self,
        rows: pl.DataFrame | None = None,
        tables: dict[str, pl.DataFrame] | None = None,
    ) -> pl.DataFrame:
        """Return the features of rows (all by default), made of tables (all by default)."""
        rows = self.rows if rows is None else rows
        tables = {**self.tables, **(tables or {})}
        return sources.features(self.project, self.spec, rows, tables)

    def failures(self) -> list[str]:
        """Return the checks of the contract that the rows fail, in words.

        Raises:
            Invalid: If the spec names no contract.
        """
        path = self.spec.data.contract
        if path is None:
            raise Invalid("the spec has no contract", hint="set data.contract")
        promise = contract.load(self.project.path(path), self.spec.data.rows)
        report = checks.check(self.rows.lazy(), promise)
        return [
            f"{result.name}: {result.failing} of {result.total} rows"
            for result in report.checks
            if not result.passed
        ]

    def train(self, rows: pl.DataFrame | None = None, *, baseline: bool = False) -> Any:
        """Return what the train function, or the baseline's, makes of rows."""
        train = self.spec.train
        code = train.baseline if baseline else train.code
        if code is None:
            raise Invalid("the spec has no baseline", hint="set train.baseline")
        rows = self.rows if rows is None else rows
        available = {
            "rows": rows,
            "features": self.features(rows),
            "label": rows[self.spec.data.label.column],
            "seed": train.seed,
        }
        return call_by_name(function(self.project, code), available, name=code)


__all__ = ["ProjectUnderTest"]
