"""``setpoint events``: the record of everything that changed."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.db.schema import encode
from setpoint.events.service import ListEvents, VerifyEvents, ls, verify


@click.group()
def events() -> None:
    """The record of everything that changed."""


@events.command("ls", epilog="Example: setpoint events ls --kind release. --limit 20")
@home_option
@json_option
@click.option("--subject", help="Only subjects that begin so, such as model:churn.")
@click.option("--kind", help="Only kinds that begin so, such as release.")
@click.option("--limit", default=30, show_default=True)
def ls_(home: str | None, as_json: bool, subject: str | None, kind: str | None, limit: int) -> None:
    """List events, newest first."""
    found = backend(home).call(ls, ListEvents(subject=subject, kind=kind, limit=limit))
    rows = [
        [e.seq, when(e.at), e.actor, e.kind, e.subject, encode(e.detail)[:80]] for e in found.events
    ]
    headers = ["#", "at (UTC)", "actor", "kind", "subject", "detail"]
    say(table(headers, rows, empty="no events yet"), found, as_json=as_json)


@events.command("verify")
@home_option
@json_option
def verify_(home: str | None, as_json: bool) -> int:
    """Verify the hash chain; exit with 1 if a line was changed, removed or reordered."""
    report = backend(home).call(verify, VerifyEvents())
    lines = [f"event {fault.seq} was {fault.what}" for fault in report.faults]
    if report.intact:
        lines = [f"{report.sealed:,} events verify; {report.unsealed:,} not sealed yet"]
    say("\n".join([*lines, f"head {report.head}"]), report, as_json=as_json)
    return 0 if report.intact else 1
