"""``setpoint notify``: who is told of what, and whether it arrived."""

from typing import TextIO

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.notify import service
from setpoint.notify.deliver import trial
from setpoint.notify.entities import Mail, State


@click.group()
def notify() -> None:
    """Channels that are told of events: webhooks, Slack and the like, e-mail."""


@notify.command(
    "add",
    epilog="Example: setpoint notify add ops https://example.com/hook --on 'release.*'",
)
@home_option
@json_option
@click.argument("name")
@click.argument("url")
@click.option("--on", "events", multiple=True, required=True, help="release.promoted, release.*, …")
@click.option(
    "--kind",
    type=click.Choice(["webhook", "slack", "email"]),
    default="webhook",
    show_default=True,
)
@click.option("--secret-from", type=click.File(), help="File with the secret; - for stdin.")
@click.option("--to", multiple=True, help="Address of a letter; several times for several.")
@click.option("--sender", default="", help="From whom letters are.")
@click.option("--user", default="", help="Of the mail server.")
@click.option("--description", default="")
def add_(
    home: str | None,
    as_json: bool,
    name: str,
    url: str,
    *,
    events: tuple[str, ...],
    kind: str,
    secret_from: TextIO | None,
    to: tuple[str, ...],
    sender: str,
    user: str,
    description: str,
) -> None:
    """Tell URL of events from now on. Letters go to a mail server: smtps://HOST, smtp://HOST."""
    cmd = service.AddChannel(
        name=name,
        kind=kind,
        url=url,
        events=list(events),
        description=description,
        secret=None if secret_from is None else secret_from.read().strip(),
        mail=Mail(to=list(to), sender=sender, user=user) if kind == "email" else None,
    )
    added = backend(home).call(service.add, cmd)
    lines = [f"added {added.channel.id}"]
    if added.secret:
        lines.append(f"its secret, shown this once: {added.secret}")
    say("\n".join(lines), added, as_json=as_json)


@notify.command("ls")
@home_option
@json_option
def ls_(home: str | None, as_json: bool) -> None:
    """List channels."""
    found = backend(home).call(service.ls, service.ListChannels())
    rows = [
        [c.name, c.kind, c.url, " ".join(c.events), "on" if c.enabled else "off", c.id]
        for c in found.channels
    ]
    headers = ["name", "kind", "address", "told of", "", "id"]
    say(table(headers, rows, empty="nobody is told: setpoint notify add"), found, as_json=as_json)


@notify.command("on")
@home_option
@json_option
@click.argument("channel")
def on_(home: str | None, as_json: bool, channel: str) -> None:
    """Tell CHANNEL again, of what happens from now on."""
    _switch(home, channel, as_json=as_json, enabled=True)


@notify.command("off")
@home_option
@json_option
@click.argument("channel")
def off_(home: str | None, as_json: bool, channel: str) -> None:
    """Stop telling CHANNEL."""
    _switch(home, channel, as_json=as_json, enabled=False)


@notify.command("rm")
@home_option
@json_option
@click.argument("channel")
def rm_(home: str | None, as_json: bool, channel: str) -> None:
    """Remove CHANNEL and the log of what it was told."""
    gone = backend(home).call(service.rm, service.OneChannel(channel=channel))
    say(f"removed {gone.name}", gone, as_json=as_json)


@notify.command("test")
@home_option
@json_option
@click.argument("channel")
def test_(home: str | None, as_json: bool, channel: str) -> int:
    """Send a trial to CHANNEL now."""
    outcome = trial(backend(home), channel)
    text = f"failed: {outcome.error}" if outcome.error else f"arrived: {outcome.status}"
    say(text, outcome, as_json=as_json)
    return 1 if outcome.error else 0


@notify.command("log", epilog="Example: setpoint notify log --failed")
@home_option
@json_option
@click.argument("channel", required=False)
@click.option("--failed", is_flag=True, help="Only what was given up.")
@click.option("--waiting", is_flag=True, help="Only what is still to be delivered.")
@click.option("--limit", default=50, show_default=True)
def log_(
    home: str | None,
    as_json: bool,
    channel: str | None,
    failed: bool,
    waiting: bool,
    limit: int,
) -> None:
    """Show what was delivered, to CHANNEL or to all, newest first."""
    state = State.FAILED if failed else State.WAITING if waiting else None
    cmd = service.ListDeliveries(channel=channel, state=state, limit=limit)
    found = backend(home).call(service.log, cmd)
    rows = [
        [when(d.created_at), d.kind, d.subject, d.state, d.attempts, d.id] for d in found.deliveries
    ]
    headers = ["when (UTC)", "event", "of", "state", "attempts", "id"]
    say(table(headers, rows, empty="nothing was sent"), found, as_json=as_json)


@notify.command("show")
@home_option
@json_option
@click.argument("delivery")
def show_(home: str | None, as_json: bool, delivery: str) -> None:
    """Show every attempt at DELIVERY, and the answers."""
    found = backend(home).call(service.delivery, service.OneDelivery(delivery=delivery))
    rows = [
        [a.number, when(a.at), f"{a.seconds:.2f} s", a.status, a.error or a.answer[:80]]
        for a in found.attempts
    ]
    lines = [f"{found.delivery.kind} {found.delivery.subject}: {found.delivery.state}"]
    if found.delivery.state is State.WAITING:
        lines.append(f"next attempt {when(found.delivery.next_at)} UTC")
    text = table(["", "when (UTC)", "took", "status", ""], rows, empty="not tried yet")
    say("\n".join([*lines, "", text]), found, as_json=as_json)


@notify.command("redeliver")
@home_option
@json_option
@click.argument("delivery")
def redeliver_(home: str | None, as_json: bool, delivery: str) -> None:
    """Try DELIVERY once more, as soon as the platform is up."""
    found = backend(home).call(service.redeliver, service.OneDelivery(delivery=delivery))
    say("it will be tried again", found, as_json=as_json)


def _switch(home: str | None, channel: str, *, as_json: bool, enabled: bool) -> None:
    cmd = service.UpdateChannel(channel=channel, enabled=enabled)
    found = backend(home).call(service.update, cmd)
    say(f"{found.name} is {'on' if enabled else 'off'}", found, as_json=as_json)
