"""What is registered, how each version passed its gate, and how two differ."""

from pathlib import Path

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.models import card
from setpoint.models.cards.service import ShowCard
from setpoint.models.cards.service import show as show_card
from setpoint.models.compare.service import DiffVersions, diff
from setpoint.models.entities import Check, ModelVersion
from setpoint.models.search.service import SearchModels, SearchVersions, search, search_versions
from setpoint.models.service import ListModels, ShowModel, Which, get, ls, show


@click.command("ls")
@home_option
@json_option
def ls_(home: str | None, as_json: bool) -> None:
    """List all models."""
    found = backend(home).call(ls, ListModels())
    rows = [[m.model, m.versions, m.aliases.get("live"), when(m.created_at)] for m in found.models]
    text = table(
        ["model", "versions", "live", "since"], rows, empty="no models yet: setpoint apply"
    )
    say(text, found, as_json=as_json)


@click.command("show", epilog="Example: setpoint models show flights-late --number 3")
@home_option
@json_option
@click.argument("model")
@click.option("--number", type=int, help="One version, with its gate.")
def show_(home: str | None, as_json: bool, model: str, number: int | None) -> None:
    """Show MODEL and its versions, or one version with its gate."""
    store = backend(home)
    if number is not None:
        version = store.call(get, Which(model=model, number=number))
        say(_version(version), version, as_json=as_json)
        return
    found = store.call(show, ShowModel(model=model))
    named = {n: alias for alias, n in found.aliases.items()}
    rows = [
        [
            v.number,
            named.get(v.number, ""),
            when(v.created_at),
            _passed(v),
            "onnx" if v.onnx else v.flavor,
            v.why,
        ]
        for v in found.versions
    ]
    text = table(["version", "alias", "born (UTC)", "gate", "serves as", "why"], rows)
    say(text, found, as_json=as_json)


@click.command(
    "search", epilog="Example: setpoint models search \"tags.team = 'risk'\" --order 'name DESC'"
)
@home_option
@json_option
@click.argument("text", metavar="FILTER", default="")
@click.option("--order", multiple=True, help="Such as 'name DESC'; may be given several times.")
@click.option("--versions", is_flag=True, help="Find versions, not models.")
@click.option("--deleted", is_flag=True, help="Find what is deleted.")
@click.option("--limit", default=100, show_default=True)
def search_(
    home: str | None,
    as_json: bool,
    text: str,
    order: tuple[str, ...],
    versions: bool,
    deleted: bool,
    limit: int,
) -> None:
    """Find models (or versions) by FILTER: names, tags, aliases, sources, times."""
    store = backend(home)
    if versions:
        cmd = SearchVersions(filter=text, order=list(order), deleted=deleted, limit=limit)
        some = store.call(search_versions, cmd)
        rows = [
            [
                each.version.model,
                each.version.number,
                ", ".join(each.aliases),
                each.version.source or each.version.flavor,
                when(each.version.updated_at),
            ]
            for each in some.versions
        ]
        head = ["model", "version", "aliases", "from", "changed (UTC)"]
        say(table(head, rows, empty="none found"), some, as_json=as_json)
        return
    asked = SearchModels(filter=text, order=list(order), deleted=deleted, limit=limit)
    found = store.call(search, asked)
    lines = [[m.model, m.versions, _aliases(m.aliases), when(m.updated_at)] for m in found.models]
    headers = ["model", "versions", "aliases", "changed (UTC)"]
    say(table(headers, lines, empty="none found"), found, as_json=as_json)


@click.command("diff", epilog="Example: setpoint models diff flights-late 3 4")
@home_option
@json_option
@click.argument("model")
@click.argument("number", type=int)
@click.argument("other", type=int)
@click.option("--of", "other_model", default="", metavar="MODEL", help="The OTHER one's model.")
def diff_(
    home: str | None, as_json: bool, model: str, number: int, other: int, other_model: str
) -> None:
    """Show what differs between versions NUMBER and OTHER of MODEL."""
    cmd = DiffVersions(model=model, number=number, other=other, other_model=other_model)
    found = backend(home).call(diff, cmd)
    rows = [[c.kind, c.name, _value(c.was), _value(c.now), c.detail] for c in found.changes]
    text = table(["", "what", found.first, found.second, ""], rows, empty="nothing differs")
    if found.unknown:
        text += f"\n\nnot known here: the runs of {', '.join(found.unknown)}"
    say(text, found, as_json=as_json)


@click.command("card", epilog="Example: setpoint models card flights-late 3 --html card.html")
@home_option
@json_option
@click.argument("model")
@click.argument("number", type=int)
@click.option("--html", "file", type=click.Path(path_type=Path), help="Write it as an HTML file.")
def card_(home: str | None, as_json: bool, model: str, number: int, file: Path | None) -> None:
    """Show the card of a version in Markdown, or write it as one HTML file."""
    cmd = ShowCard(model=model, number=number, html=file is not None)
    found = backend(home).call(show_card, cmd)
    if file is not None:
        file.write_text(found.html, encoding="utf-8")
    say(found.markdown if file is None else f"wrote {file}", found, as_json=as_json)


COMMANDS = (ls_, show_, search_, diff_, card_)


def _aliases(named: dict[str, int]) -> str:
    return ", ".join(f"{alias} → {number}" for alias, number in named.items())


def _value(value: object) -> object:
    return "-" if value is None else value if isinstance(value, int | float) else str(value)[:60]


def _version(version: ModelVersion) -> str:
    lines = [
        f"{version.model} version {version.number}, born {when(version.created_at)} UTC",
        f"why       {version.why}",
        f"run       {version.run_id}",
        f"datasets  {', '.join(f'{name}/{n}' for name, n in version.datasets.items()) or '-'}",
        f"serves    {'ONNX' if version.onnx else version.flavor}, {version.size:,} bytes",
        f"parity    {card.parity(version.parity)}",
        f"gate      {_passed(version)}",
    ]
    if version.override:
        lines.append(f"override  {version.override.actor}: {version.override.reason}")
    checks = version.gate.checks if version.gate else []
    rows = [
        ["pass" if c.passed else "FAIL", c.name, c.value, _interval(c), c.bound, c.detail]
        for c in checks
    ]
    headers = ["", "check", "value", "interval", "bound", ""]
    return "\n".join([*lines, "", table(headers, rows, empty="no gate was run")])


def _interval(check: Check) -> str:
    return "" if check.low is None or check.high is None else f"{check.low:.4g} .. {check.high:.4g}"


def _passed(version: ModelVersion) -> str:
    if version.gate is None:
        return "none"
    if version.gate.passed:
        return "passed"
    return "overridden" if version.override else "failed"
