"""``setpoint init``: a small project that works as it is."""

from pathlib import Path

import click

from setpoint.cli.console import json_option, say
from setpoint.cli.init_project import create


@click.command(epilog="Example: setpoint init churn && cd churn && setpoint apply")
@json_option
@click.argument("name")
@click.option("--folder", metavar="DIR", help="Where to write it. Default: a new folder NAME.")
def init(as_json: bool, name: str, folder: str | None) -> None:
    """Write a small working project: a spec, a Python file, a contract, data and a test."""
    made = create(name, Path(folder or name))
    lines = [f"wrote {path}" for path in made.files]
    text = "\n".join([*lines, "", f"next: cd {made.folder} && setpoint apply && setpoint up"])
    say(text, made, as_json=as_json)
