"""Approvals, protected aliases, comments."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.cli.models.changing import number_option
from setpoint.models.review import service


@click.command(
    "approve", epilog='Example: setpoint models approve credit 3 --role risk --reason "…"'
)
@home_option
@json_option
@click.argument("model")
@click.argument("number", type=int)
@click.option("--role", required=True, help="For which you speak.")
@click.option("--reason", required=True, help="Why; on record.")
@click.option("--reject", is_flag=True, help="Reject it instead.")
def approve_(
    home: str | None,
    as_json: bool,
    model: str,
    number: int,
    role: str,
    reason: str,
    reject: bool,
) -> None:
    """Approve (or reject) version NUMBER of MODEL for a role."""
    cmd = service.Decide(model=model, number=number, role=role, approved=not reject, reason=reason)
    done = backend(home).call(service.approve, cmd)
    said = "rejected" if reject else "approved"
    say(f"{said} by {done.actor} for {role}", done, as_json=as_json)


@click.command("ask", epilog='Example: setpoint models ask credit 3 --role risk --reason "…"')
@home_option
@json_option
@click.argument("model")
@click.argument("number", type=int)
@click.option("--role", required=True, help="Whose approval is wanted.")
@click.option("--reason", required=True, help="Why; on record.")
def ask_(home: str | None, as_json: bool, model: str, number: int, role: str, reason: str) -> None:
    """Ask for a role's approval of version NUMBER of MODEL."""
    cmd = service.AskApproval(model=model, number=number, role=role, reason=reason)
    done = backend(home).call(service.ask, cmd)
    say(f"it waits for {done.role}", done, as_json=as_json)


@click.command("approvals")
@home_option
@json_option
@click.argument("model")
@click.option("--number", type=int, help="Of this version only.")
def approvals_(home: str | None, as_json: bool, model: str, number: int | None) -> None:
    """Show the decisions about versions of MODEL, newest first."""
    found = backend(home).call(service.approvals, service.AboutVersion(model=model, number=number))
    rows = [
        [
            when(each.at),
            each.number,
            each.role,
            "approved" if each.approved else "rejected",
            each.actor,
            each.reason,
        ]
        for each in found.approvals
    ]
    headers = ["when (UTC)", "version", "role", "decision", "by", "why"]
    say(table(headers, rows, empty="no decisions"), found, as_json=as_json)


@click.command(
    "protect", epilog='Example: setpoint models protect credit champion --role risk --reason "…"'
)
@home_option
@json_option
@click.argument("model")
@click.argument("alias")
@click.option("--role", "roles", multiple=True, help="Must have approved; none: it stays put.")
@click.option("--reason", required=True, help="Why; on record.")
def protect_(
    home: str | None, as_json: bool, model: str, alias: str, roles: tuple[str, ...], reason: str
) -> None:
    """Let ALIAS of MODEL move by hand only to versions that roles have approved."""
    cmd = service.Protect(model=model, alias=alias, roles=list(roles), reason=reason)
    done = backend(home).call(service.protect, cmd)
    by = f"moves with approval of {', '.join(done.roles)}" if done.roles else "does not move"
    say(f"{alias} of {model} {by}", done, as_json=as_json)


@click.command("unprotect")
@home_option
@json_option
@click.argument("model")
@click.argument("alias")
@click.option("--reason", required=True, help="Why; on record.")
def unprotect_(home: str | None, as_json: bool, model: str, alias: str, reason: str) -> None:
    """Lift the protection of ALIAS of MODEL."""
    cmd = service.Unprotect(model=model, alias=alias, reason=reason)
    done = backend(home).call(service.unprotect, cmd)
    say(f"{alias} of {model} moves freely", done, as_json=as_json)


@click.command("comment", epilog='Example: setpoint models comment credit "Odd on Mondays."')
@home_option
@json_option
@click.argument("model")
@click.argument("text")
@number_option
def comment_(home: str | None, as_json: bool, model: str, text: str, number: int) -> None:
    """Say TEXT about MODEL, or about a version of it."""
    cmd = service.AddComment(model=model, number=number, text=text)
    say("said", backend(home).call(service.comment, cmd), as_json=as_json)


@click.command("comments")
@home_option
@json_option
@click.argument("model")
@click.option("--number", type=int, help="On this version only; 0: on the model itself.")
def comments_(home: str | None, as_json: bool, model: str, number: int | None) -> None:
    """Show what was said about MODEL and its versions."""
    found = backend(home).call(service.comments, service.AboutVersion(model=model, number=number))
    rows = [[when(c.at), c.subject, c.actor, c.text] for c in found.comments]
    headers = ["when (UTC)", "about", "by", "said"]
    say(table(headers, rows, empty="nothing was said"), found, as_json=as_json)


COMMANDS = (approve_, ask_, approvals_, protect_, unprotect_, comment_, comments_)
