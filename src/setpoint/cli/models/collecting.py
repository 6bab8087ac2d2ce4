"""Giving back the bytes of versions that went."""

import click

from setpoint.cli.console import backend, home_option, json_option, say
from setpoint.models.retention.service import collect


@click.command("gc", epilog="Example: setpoint models gc --days 7 --dry")
@home_option
@json_option
@click.option("--days", default=30.0, show_default=True, help="Days since a version was deleted.")
@click.option("--dry", is_flag=True, help="Only say what would go.")
def gc_(home: str | None, as_json: bool, days: float, dry: bool) -> None:
    """Delete versions that no rule keeps, and free the bytes of those deleted long ago."""
    done = collect(backend(home), older_than=days * 86_400, dry=dry)
    would = "would be " if dry else ""
    lines = [
        f"{len(done.retired)} versions {would}deleted by their model's rule of keeping",
        f"{len(done.versions)} versions {would}given up for good",
        f"{done.objects} objects {would}freed: {done.bytes:,} bytes",
    ]
    if done.spared:
        lines.append(f"{done.spared} objects stay: something else names them, or they are new")
    say("\n".join(lines), done, as_json=as_json)


COMMANDS = (gc_,)
