"""``setpoint models``: what is registered, and how each version passed its gate."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, table, when
from setpoint.models.entities import Check, ModelVersion
from setpoint.models.service import ListModels, ShowModel, Which, get, ls, show


@click.group()
def models() -> None:
    """Models, their versions, aliases and gates."""


@models.command("ls")
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


@models.command("show", epilog="Example: setpoint models show flights-late --number 3")
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


def _version(version: ModelVersion) -> str:
    lines = [
        f"{version.model} version {version.number}, born {when(version.created_at)} UTC",
        f"why       {version.why}",
        f"run       {version.run_id}",
        f"datasets  {', '.join(f'{name}/{n}' for name, n in version.datasets.items()) or '-'}",
        f"serves    {'ONNX' if version.onnx else version.flavor}, {version.size:,} bytes",
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
