"""``setpoint explain`` and ``setpoint schema``: the language of the setpoint file."""

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from setpoint.cli.console import json_option
from setpoint.control.consequences import consequences
from setpoint.control.contracts import personal_of
from setpoint.control.project import load
from setpoint.control.spec.enforced import in_words, unenforced
from setpoint.control.spec.explain import Explained
from setpoint.control.spec.explain import explain as explained
from setpoint.control.spec.graphs import GraphSpec
from setpoint.control.spec.schema import schema as make_schema

_WIDE = 120  #: columns of a terminal from which a table has room for its last column


@click.command(epilog="Example: setpoint explain churn --set")
@json_option
@click.argument("model", required=False)
@click.option("--project", default=".", metavar="FOLDER", help="Where the setpoint file is.")
@click.option("--set", "only_set", is_flag=True, help="Only what the file sets, no defaults.")
def explain(as_json: bool, model: str | None, project: str, only_set: bool) -> None:
    """Show every setting of MODEL's spec, its default and what follows from it."""
    found = load(project)
    spec = found.file(model).spec
    rows = explained(spec)
    rows = [row for row in rows if not (only_set and row.default)]
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    console = Console()
    console.print(_table(rows) if console.width >= _WIDE else _lines(rows, console.width))
    if isinstance(spec, GraphSpec):
        return
    for key in unenforced(spec):
        console.print(in_words(key), highlight=False)
    for said in consequences(spec, personal_of(found, spec)):
        console.print(f"log: {said}", highlight=False)


def _table(rows: list[Explained]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("setting", "value", "", "meaning"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row.path, row.value, _source(row), _meaning(row))
    return table


def _lines(rows: list[Explained], width: int) -> Text:
    """Return each setting with its value on a line, and its meaning under it, by words."""
    lines = Text()
    for row in rows:
        lines.append(row.path, style="bold")
        lines.append(f": {row.value}")
        lines.append(f"  ({_source(row)})\n", style="dim")
        lines.append(click.wrap_text(_meaning(row), width, "    ", "    ") + "\n")
    lines.rstrip()
    return lines


def _source(row: Explained) -> str:
    return "default" if row.default else "set"


def _meaning(row: Explained) -> str:
    return f"{row.meaning}; {row.consequence}" if row.consequence else row.meaning


@click.command(epilog="Example: setpoint schema > setpoint.schema.json")
def schema() -> None:
    """Print the JSON Schema of the setpoint file, for editors."""
    text = msgspec.json.format(msgspec.json.encode(make_schema()), indent=2)
    click.echo(text.decode())
