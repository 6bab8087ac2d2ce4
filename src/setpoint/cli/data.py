"""``setpoint data``: datasets, their versions, and what their contracts found."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.data.entities import Validation
from setpoint.data.service import ListDatasets, ShowDataset, ls, show, validate


@click.group()
def data() -> None:
    """Datasets, their versions, and what their contracts found."""


@data.command("ls", epilog="Example: setpoint data ls flights")
@home_option
@json_option
@click.argument("dataset", required=False)
def ls_(home: str | None, as_json: bool, dataset: str | None) -> None:
    """List the newest version of every dataset, or all versions of DATASET."""
    found = backend(home).call(ls, ListDatasets(dataset=dataset))
    rows = [
        [v.dataset, v.number, v.rows, v.added, v.set_aside, when(v.until)] for v in found.datasets
    ]
    headers = ["dataset", "version", "rows", "added", "set aside", "known until"]
    say(
        table(headers, rows, empty="no datasets yet: setpoint apply"),
        found,
        as_json=as_json,
    )


@data.command("show", epilog="Example: setpoint data show flights --number 3")
@home_option
@json_option
@click.argument("dataset")
@click.option("--number", type=int, help="The version; the newest by default.")
def show_(home: str | None, as_json: bool, dataset: str, number: int | None) -> None:
    """Show one version of DATASET: columns, rows, and what its contract found."""
    found = backend(home).call(show, ShowDataset(dataset=dataset, number=number))
    version = found.version
    columns = table(["column", "type"], [[c.name, c.type] for c in version.columns])
    text = (
        f"{version.dataset} version {version.number}: {version.rows:,} rows, "
        f"{version.added:,} added, {version.set_aside:,} set aside; "
        f"known until {when(version.until)} UTC\n\n"
        f"{columns}\n\n{_report(found.validation)}"
    )
    say(text, found, as_json=as_json)


@data.command("validate", epilog="Example: setpoint data validate flights")
@home_option
@json_option
@click.argument("dataset")
@click.option("--number", type=int, help="The version; the newest by default.")
def validate_(home: str | None, as_json: bool, dataset: str, number: int | None) -> int:
    """Show what the contract of DATASET found; exit with 1 if a check failed."""
    report = backend(home).call(validate, ShowDataset(dataset=dataset, number=number))
    say(_report(report), report, as_json=as_json)
    return 0 if report.passed else 1


def _report(report: Validation) -> str:
    if not report.checks:
        return "no contract"
    rows = [
        [
            "pass" if c.passed else ("FAIL" if c.severity == "error" else "warn"),
            c.name,
            c.failing,
            c.total,
            c.detail,
        ]
        for c in sorted(report.checks, key=lambda c: (c.passed, c.name))
    ]
    head = f"contract {report.contract}: {report.set_aside:,} of {report.rows:,} rows set aside"
    notes = "".join(f"\n{note}" for note in report.notes)
    return f"{head}\n{table(['', 'check', 'failing', 'rows', 'found'], rows)}{notes}"
