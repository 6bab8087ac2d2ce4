"""``setpoint sync``: delivering runs that were tracked offline or whose process was killed."""

import click

from setpoint.cli.console import home_option, json_option, say, table
from setpoint.config import settings
from setpoint.sdk.sync import sync as deliver


@click.command(epilog="Example: setpoint sync --url http://127.0.0.1:8765")
@home_option
@json_option
@click.option("--url", metavar="URL", help="Server that takes them. Default: where each began.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
def sync(home: str | None, as_json: bool, url: str | None, runs: tuple[str, ...]) -> None:
    """Deliver runs that wait on this machine: all of them, or the ones named.

    Runs wait that were tracked offline, that ended while their server was away, or whose
    process was killed. What has been delivered is deleted here; doing it twice is fine.
    """
    found = list(deliver(settings(home), url, runs))
    rows = [[r.run, r.experiment, r.to, r.points, r.refused, r.complete] for r in found]
    headers = ["run", "experiment", "delivered to", "points", "refused", "complete"]
    say(table(headers, rows, empty="no run waits here"), found, as_json=as_json)
