"""``setpoint alarms``: what went off target, and a person's word on it."""

import click
import msgspec

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.monitor.entities import Alarm
from setpoint.monitor.service import AcknowledgeAlarm, ListAlarms, ShowAlarm, ack, ls, show


@click.group()
def alarms() -> None:
    """What went off target, and your word on it."""


@alarms.command("ls", epilog="Example: setpoint alarms ls flights-late --standing")
@home_option
@json_option
@click.argument("model", required=False)
@click.option("--standing", is_flag=True, help="Only those not closed.")
def ls_(home: str | None, as_json: bool, model: str | None, standing: bool) -> None:
    """List alarms, newest first."""
    found = backend(home).call(ls, ListAlarms(model=model, standing=standing))
    rows = [
        [a.id, f"{a.model}/{a.version}", a.monitor, a.state, when(a.opened_at), a.text]
        for a in found.alarms
    ]
    headers = ["alarm", "version", "monitor", "state", "opened (UTC)", "what"]
    say(table(headers, rows, empty="no alarms"), found, as_json=as_json)


@alarms.command("show", epilog="What it set in motion: setpoint why alm_01K…")
@home_option
@json_option
@click.argument("alarm", metavar="ID")
def show_(home: str | None, as_json: bool, alarm: str) -> None:
    """Show the alarm ID with its evidence."""
    found = backend(home).call(show, ShowAlarm(id=alarm))
    say(_detail(found), found, as_json=as_json)


@alarms.command("ack", epilog='Example: setpoint alarms ack alm_01K… --reason "new airport"')
@home_option
@json_option
@click.argument("alarm", metavar="ID")
@click.option("--reason", required=True, help="Recorded with who said it.")
def ack_(home: str | None, as_json: bool, alarm: str, reason: str) -> None:
    """Say that the alarm ID is being looked at, and why it stands."""
    found = backend(home).call(ack, AcknowledgeAlarm(id=alarm, reason=reason))
    say(
        f"{found.id} of {found.model}/{found.version}: {found.state}",
        found,
        as_json=as_json,
    )


def _detail(found: Alarm) -> str:
    lines = [
        f"{found.id}: {found.monitor} of {found.model}/{found.version}, {found.state}",
        f"opened       {when(found.opened_at)} UTC",
        f"seen         {found.times} times, last {when(found.seen_at)} UTC",
        f"what         {found.text}",
    ]
    if found.by:
        lines.append(f"said         {found.by}: {found.reason}")
    if found.attribution:
        shares = ", ".join(f"{column} {share:.0%}" for column, share in found.attribution)
        lines.append(f"attribution  {shares}")
    rows = [[name, _value(value)] for name, value in found.evidence.items()]
    return "\n".join([*lines, "", table(["evidence", "value"], rows, empty="no evidence")])


def _value(value: object) -> object:
    simple = value is None or isinstance(value, str | int | float)
    return value if simple else msgspec.json.encode(value, enc_hook=str).decode()
