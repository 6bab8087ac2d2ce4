"""``setpoint predict``: rows in, predictions out, through the inference server."""

import sys
from contextlib import closing

import click
import msgspec

from setpoint.cli.console import json_option, say, table
from setpoint.errors import Invalid, NotFound
from setpoint.serve.client import Inference


@click.command(
    epilog="""Examples:

    setpoint predict churn tenure=3 plan=basic

    setpoint predict churn --file rows.json     where rows.json is [{"tenure": 3}, …]; - is stdin
"""
)
@json_option
@click.argument("model")
@click.argument("values", nargs=-1, metavar="[INPUT=VALUE]...")
@click.option("--file", "file", metavar="FILE", help="JSON: a list of objects, one a row.")
@click.option(
    "--route", default="", metavar="WHO", help="As a tester: live, canary, an arm, or a version."
)
@click.option("--url", default="http://127.0.0.1:8766", show_default=True)
def predict(
    as_json: bool, model: str, values: tuple[str, ...], file: str | None, route: str, url: str
) -> None:
    """Send rows to the inference server and show what MODEL answers."""
    rows = _from_file(file) if file else [_from_words(values)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    with closing(Inference(url)) as client:
        answer = client.predict(model, columns, route=route)
    told = {name: [_short(each) for each in values] for name, values in answer.outputs.items()}
    by = {"version": answer.versions, **({"arm": answer.arms} if answer.arms else {})}
    lines = list(zip(answer.ids, *told.values(), *by.values(), strict=True))
    say(table(["prediction", *told, *by], lines), answer, as_json=as_json)


def _short(value: object) -> object:
    if isinstance(value, list):
        return " ".join(str(_short(each)) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else value


def _from_words(values: tuple[str, ...]) -> dict[str, object]:
    if not values:
        raise Invalid(
            "there are no values to predict from", hint="give INPUT=VALUE, or --file FILE"
        )
    row: dict[str, object] = {}
    for word in values:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise Invalid(f"{word!r} is not INPUT=VALUE", hint="such as tenure=3")
        try:
            row[name] = float(text)
        except ValueError:
            row[name] = text
    return row


def _from_file(file: str) -> list[dict[str, object]]:
    try:
        if file == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(file, "rb") as stream:  # noqa: PTH123 - "-" and paths alike
                data = stream.read()
    except OSError as error:
        raise NotFound(f"cannot read {file}", where=error.strerror or "") from None
    try:
        rows = msgspec.json.decode(data, type=list[dict[str, object]])
    except msgspec.MsgspecError as error:
        raise Invalid(f"{file} is not a JSON list of rows", where=str(error)) from None
    if not rows:
        raise Invalid(f"{file} has no rows")
    return rows
