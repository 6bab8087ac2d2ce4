"""Making, describing, naming and deleting models and versions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.errors import Invalid
from setpoint.models import service
from setpoint.models.cards.service import WriteCard, write
from setpoint.models.registry import aliases, commands
from setpoint.models.registry import service as registry
from setpoint.models.registry.entities import Keep

F = TypeVar("F", bound=Callable[..., Any])


def number_option(command: F) -> F:
    """Add ``--number N``: of a version; the model itself without it."""
    return click.option("--number", type=int, default=0, help="Of this version.")(command)


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """Return ``KEY=VALUE`` texts as a mapping."""
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            raise Invalid(f"{text!r} is no tag", hint="KEY=VALUE")
        found[key] = value
    return found


@click.command("create", epilog="Example: setpoint models create credit --tag team=risk")
@home_option
@json_option
@click.argument("model")
@click.option("--description", default="")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
def create_(
    home: str | None, as_json: bool, model: str, description: str, tags: tuple[str, ...]
) -> None:
    """Make MODEL, without a version yet."""
    cmd = commands.CreateModel(model=model, description=description, tags=pairs(tags))
    made = backend(home).call(registry.create, cmd)
    say(f"made {made.model}", made, as_json=as_json)


@click.command("register", epilog="Example: setpoint models register credit s3://bucket/credit")
@home_option
@json_option
@click.argument("model")
@click.argument("source")
@click.option("--run", "run_id", default="", help="Id of the run that made it.")
@click.option("--description", default="")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
def register_(
    home: str | None,
    as_json: bool,
    model: str,
    source: str,
    run_id: str,
    description: str,
    tags: tuple[str, ...],
) -> None:
    """Register a version of MODEL whose files are at SOURCE, a URI."""
    cmd = commands.AddVersion(
        model=model,
        source=source,
        run_id=run_id,
        description=description,
        tags=pairs(tags),
    )
    made = backend(home).call(registry.add_version, cmd)
    say(f"registered version {made.version.number} of {model}", made, as_json=as_json)


@click.command("describe", epilog='Example: setpoint models describe credit "For small loans."')
@home_option
@json_option
@click.argument("model")
@click.argument("text")
@number_option
def describe_(home: str | None, as_json: bool, model: str, text: str, number: int) -> None:
    """Say in TEXT what MODEL, or a version of it, is."""
    store = backend(home)
    changed = (
        store.call(
            registry.update_version,
            commands.UpdateVersion(model=model, number=number, description=text),
        )
        if number
        else store.call(registry.update, commands.UpdateModel(model=model, description=text))
    )
    say("described", changed, as_json=as_json)


@click.command("tag", epilog="Example: setpoint models tag credit team=risk --untag draft")
@home_option
@json_option
@click.argument("model")
@click.argument("tags", nargs=-1, metavar="KEY=VALUE...")
@click.option("--untag", multiple=True, metavar="KEY", help="Remove a tag.")
@number_option
def tag_(
    home: str | None,
    as_json: bool,
    model: str,
    tags: tuple[str, ...],
    untag: tuple[str, ...],
    number: int,
) -> None:
    """Set and remove tags of MODEL, or of a version of it; show those it has then."""
    cmd = commands.SetTags(model=model, number=number, tags=pairs(tags), untag=list(untag))
    found = backend(home).call(registry.tag, cmd)
    rows = [[key, value[:100]] for key, value in found.tags.items()]
    say(table(["tag", "value"], rows, empty="no tags"), found, as_json=as_json)


@click.command(
    "alias",
    epilog='Example: setpoint models alias credit champion 3 --reason "better on new loans"',
)
@home_option
@json_option
@click.argument("model")
@click.argument("alias")
@click.argument("number", type=int)
@click.option("--reason", default="", help="Why; on record.")
def alias_(
    home: str | None, as_json: bool, model: str, alias: str, number: int, reason: str
) -> None:
    """Point ALIAS of MODEL at version NUMBER."""
    cmd = service.SetAlias(model=model, alias=alias, number=number, reason=reason)
    moved = backend(home).call(service.alias, cmd)
    say(f"{alias} of {model} is version {number}", moved, as_json=as_json)


@click.command("unalias")
@home_option
@json_option
@click.argument("model")
@click.argument("alias")
@click.option("--reason", default="", help="Why; on record.")
def unalias_(home: str | None, as_json: bool, model: str, alias: str, reason: str) -> None:
    """Drop ALIAS of MODEL."""
    cmd = commands.DropAlias(model=model, alias=alias, reason=reason)
    done = backend(home).call(aliases.unalias, cmd)
    said = f"{alias} of {model} is dropped" if done.number else f"{model} has no alias {alias}"
    say(said, done, as_json=as_json)


@click.command("history", epilog="Example: setpoint models history credit --alias champion")
@home_option
@json_option
@click.argument("model")
@click.option("--alias", help="Of this alias only.")
def history_(home: str | None, as_json: bool, model: str, alias: str | None) -> None:
    """Show who moved the aliases of MODEL, when, and why."""
    cmd = commands.AliasHistory(model=model, alias=alias)
    found = backend(home).call(aliases.alias_history, cmd)
    rows = [
        [when(m.at), m.alias, f"{m.was or '-'} → {m.number or '-'}", m.actor, m.reason]
        for m in found.moves
    ]
    headers = ["when (UTC)", "alias", "version", "by", "why"]
    say(table(headers, rows, empty="no alias was ever set"), found, as_json=as_json)


@click.command("write-card", epilog="Example: setpoint models write-card credit 3 CARD.md")
@home_option
@json_option
@click.argument("model")
@click.argument("number", type=int)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def write_card_(home: str | None, as_json: bool, model: str, number: int, file: Path) -> None:
    """Put the Markdown in FILE on the card of a version: its purpose, its limits."""
    words = file.read_text(encoding="utf-8")
    cmd = WriteCard(model=model, number=number, words=words)
    say("written", backend(home).call(write, cmd), as_json=as_json)


@click.command("keep", epilog="Example: setpoint models keep credit --newest 10 --days 90")
@home_option
@json_option
@click.argument("model")
@click.option("--newest", type=int, help="So many of the newest versions stay.")
@click.option("--days", type=int, help="Younger versions stay.")
@click.option("--all", "everything", is_flag=True, help="Every version stays.")
def keep_(
    home: str | None,
    as_json: bool,
    model: str,
    newest: int | None,
    days: int | None,
    everything: bool,
) -> None:
    """Say which versions of MODEL stay without an alias; `models gc` deletes the others."""
    if everything == bool(newest or days):
        raise Invalid("say which versions stay", hint="--newest N, --days N or --all")
    keep = None if everything else Keep(newest=newest, days=days)
    changed = backend(home).call(registry.update, commands.UpdateModel(model=model, keep=keep))
    said = "every version" if keep is None else f"the newest {newest or 1}, {days or 0} days"
    say(f"{model} keeps {said}", changed, as_json=as_json)


@click.command("rename")
@home_option
@json_option
@click.argument("model")
@click.argument("new")
def rename_(home: str | None, as_json: bool, model: str, new: str) -> None:
    """Give MODEL the name NEW, unless it was trained here."""
    done = backend(home).call(registry.rename, commands.RenameModel(model=model, new=new))
    say(f"{model} is {new} now", done, as_json=as_json)


@click.command("delete", epilog="Example: setpoint models delete credit --number 2")
@home_option
@json_option
@click.argument("model")
@number_option
@click.option("--reason", default="", help="Why; on record.")
def delete_(home: str | None, as_json: bool, model: str, number: int, reason: str) -> None:
    """Take MODEL, or a version of it, out of every list; it can be restored."""
    store = backend(home)
    if number:
        cmd = commands.DeleteVersion(model=model, number=number, reason=reason)
        gone = store.call(registry.delete_version, cmd)
        say(f"version {number} of {model} is deleted", gone, as_json=as_json)
        return
    done = store.call(registry.delete, commands.DeleteModel(model=model, reason=reason))
    say(f"{model} is deleted", done, as_json=as_json)


@click.command("restore", epilog="Example: setpoint models restore credit --number 2")
@home_option
@json_option
@click.argument("model")
@number_option
def restore_(home: str | None, as_json: bool, model: str, number: int) -> None:
    """Bring MODEL, or a version of it, back."""
    store = backend(home)
    if number:
        cmd = commands.OneVersion(model=model, number=number)
        back = store.call(registry.restore_version, cmd)
        say(f"version {number} of {model} is back", back, as_json=as_json)
        return
    found = store.call(registry.restore, commands.OneModel(model=model))
    say(f"{model} is back", found, as_json=as_json)


COMMANDS = (
    create_,
    register_,
    describe_,
    tag_,
    alias_,
    unalias_,
    history_,
    write_card_,
    keep_,
    rename_,
    delete_,
    restore_,
)
