"""Can I rely on the data: versions, contract results, and what is in each column."""

from typing import Any

from msgspec import Struct

from setpoint.charts.figure import Figure, Line, Panel
from setpoint.charts.ticks import seconds
from setpoint.data.entities import CheckResult, DatasetVersion, Validation
from setpoint.data.service import Dataset, ListDatasets, ShowDataset, ls, show
from setpoint.server.ui import queries
from setpoint.server.ui.page import Ask, Page, Table

#: Versions in the heat map; older ones have pages of their own.
_WIDE = 40


class Cell(Struct, frozen=True, kw_only=True):
    """One check of one version."""

    number: int
    tone: str  #: h0 holds … h3 fails badly, hx not checked
    text: str
    title: str


class Row(Struct, frozen=True, kw_only=True):
    """One check over all versions."""

    name: str
    cells: list[Cell]


def datasets(ask: Ask) -> Page:
    """Answer "can I rely on it?" of all datasets."""
    shown: list[Dataset] = [
        ask.call(show, ShowDataset(dataset=each.dataset, number=each.number))
        for each in ask.call(ls, ListDatasets()).datasets
    ]
    rows = [
        {
            "version": each.version,
            "validation": each.validation,
            "failing": len(_failing(each.validation, "error")),
            "warnings": len(_failing(each.validation, "warning")),
        }
        for each in shown
    ]
    failing = sum(1 for row in rows if row["failing"])
    count = len(rows)
    heading = "Data"
    if count:
        names = "dataset" if count == 1 else "datasets"
        heading = f"{count} {names}, {failing or 'none'} with failing checks"
    return Page(
        template="data.html",
        title="Data",
        active="Data",
        values={"heading": heading, "datasets": rows},
        tables={"datasets": _overview(rows)},
    )


def _overview(rows: list[dict[str, Any]]) -> Table:
    fields = ("dataset", "number", "rows", "added", "set_aside", "until")
    return Table(
        columns=[*fields, "failing_checks", "warnings"],
        rows=[
            [getattr(row["version"], name) for name in fields] + [row["failing"], row["warnings"]]
            for row in rows
        ],
    )


def dataset(ask: Ask) -> Page:
    """Answer "can I rely on it?" of one dataset version."""
    name, number = ask.params["dataset"], ask.params.get("number")
    shown: Dataset = ask.call(show, ShowDataset(dataset=name, number=number))
    versions: list[DatasetVersion] = ask.call(ls, ListDatasets(dataset=name, limit=500)).datasets
    versions = sorted(versions, key=lambda each: each.number)
    recent = versions[-_WIDE:]
    reports = ask.read(queries.validations, name, recent[0].number)
    grid = heat(reports)
    return Page(
        template="dataset.html",
        title=f"{name} {shown.version.number}",
        active="Data",
        values={
            "heading": _heading(shown),
            "version": shown.version,
            "validation": shown.validation,
            "failed": [check for check in shown.validation.checks if not check.passed],
            "held": [check for check in shown.validation.checks if check.passed],
            "grid": grid,
            "columns": [report.number for report in reports],
            "stride": max(1, len(reports) // 12),
            "used": ask.read(queries.trained_on_dataset, name),
        },
        figures=_growth(name, versions),
        tables={
            "checks": Table(
                columns=[
                    "version",
                    "check",
                    "column",
                    "passed",
                    "failing",
                    "total",
                    "detail",
                ],
                rows=[
                    [r.number, c.name, c.column, c.passed, c.failing, c.total, c.detail]
                    for r in reports
                    for c in r.checks
                ],
            ),
            "columns": Table(
                columns=["name", "type"],
                rows=[[c.name, c.type] for c in shown.version.columns],
            ),
        },
    )


def columns(ask: Ask) -> Page:
    """Show what is in each column of a dataset version."""
    shown: Dataset = ask.call(
        show, ShowDataset(dataset=ask.params["dataset"], number=ask.params["number"])
    )
    from setpoint.server.ui import profile  # noqa: PLC0415 - polars, only where it is used

    made = profile.of_version(ask.backend.settings, shown.version)
    return Page(
        template="_profile.html" if ask.partial else "profile.html",
        title=f"{shown.version.dataset} {shown.version.number}: columns",
        active="Data",
        values={"version": shown.version, "columns": made.columns, "sampled": made.sampled},
        tables={
            "columns": Table(
                columns=[
                    "name",
                    "type",
                    "missing",
                    "distinct",
                    "least",
                    "mean",
                    "greatest",
                ],
                rows=[
                    [c.name, c.type, c.missing, c.distinct, c.low, c.mean, c.high]
                    for c in made.columns
                ],
            )
        },
    )


def heat(reports: list[Validation]) -> list[Row]:
    """Return checks × versions: each that ever failed, and one line for all the others."""
    found: dict[str, dict[int, CheckResult]] = {}
    for report in reports:
        for check in report.checks:
            found.setdefault(check.name, {})[report.number] = check
    failures = {name: sum(not c.passed for c in found[name].values()) for name in found}
    order = sorted((n for n in found if failures[n]), key=lambda name: -failures[name])
    numbers = [report.number for report in reports]
    rows = [
        Row(name=name, cells=[_cell(n, name, found[name].get(n)) for n in numbers])
        for name in order
    ]
    held = len(found) - len(order)
    if held:
        cells = [
            Cell(number=n, tone="h0", text="", title=f"version {n}: they hold") for n in numbers
        ]
        name = f"{held} {'other ' if order else ''}check{'s' if held > 1 else ''}"
        rows.append(Row(name=name, cells=cells))
    return rows


def _cell(number: int, name: str, check: CheckResult | None) -> Cell:
    if check is None:
        return Cell(number=number, tone="hx", text="", title=f"version {number}: not checked")
    said = f"version {number}: {check.failing:,} of {check.total:,} rows fail {name}"
    if check.passed and not check.failing:
        return Cell(number=number, tone="h0", text="", title=f"version {number}: holds")
    share = check.failing / max(check.total, 1)
    tone = "h1" if share < 0.001 else "h2" if share < 0.05 else "h3"
    return Cell(number=number, tone=tone, text=f"{check.failing:,}", title=said)


def _failing(report: Validation, severity: str) -> list[CheckResult]:
    """Return the checks that failed; every severity but error counts as a warning."""
    errors = severity == "error"
    return [c for c in report.checks if not c.passed and (c.severity == "error") == errors]


def _heading(shown: Dataset) -> str:
    name = f"{shown.version.dataset} version {shown.version.number}"
    checks = len(shown.validation.checks)
    if not checks:
        return f"{name} has no contract"
    failing = len(_failing(shown.validation, "error"))
    warnings = len(_failing(shown.validation, "warning"))
    if failing:
        return f"{name} fails {failing} of {checks} checks of its contract"
    after = "" if not warnings else f", with {warnings} warning{'s' if warnings > 1 else ''}"
    return f"{name} holds its contract{after}"


def _growth(name: str, versions: list[DatasetVersion]) -> dict[str, Any]:
    if len(versions) < 2:
        return {}
    xs = [seconds(each.until) for each in versions]
    counts = [float(each.rows) for each in versions]
    rows = Line(label="rows", xs=xs, ys=counts, low=[0.0] * len(xs), high=counts)
    newest = versions[-1]
    return {
        "growth": Figure(
            title=f"Rows of {name}",
            summary=f"{newest.rows:,} rows in version {newest.number}",
            panels=[Panel(title="Rows, by what was known", lines=[rows], low=0.0, height=96)],
        )
    }
