"""``setpoint explain-prediction``: which inputs of a row made its score what it is."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, when
from setpoint.control.explaining import (
    ExplainedPrediction,
    WhichPrediction,
    decimals,
    explained,
    shares,
)

_HALF = 16  #: characters of the longest bar, to either side
_LONGEST = 24  #: characters of a value


@click.command(
    "explain-prediction",
    epilog="Example: setpoint explain-prediction order-1 --top 5",
    context_settings={"ignore_unknown_options": True},
)
@home_option
@json_option
@click.option("--model", help="Where several models have the id.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Inputs to show, those that count most.",
)
@click.argument("name", metavar="ID", type=click.UNPROCESSED)
def explain_prediction(
    home: str | None, as_json: bool, model: str | None, top: int, name: str
) -> None:
    """Show what each input added to the score of prediction ID.

    The row is read from the log, the version that answered is loaded and its score split among
    the inputs (Shapley values), compared with training rows. Base and contributions add up to it.
    """
    found = explained(backend(home), WhichPrediction(id=name, model=model))
    say(listing(found, top), found, as_json=as_json)


def listing(found: ExplainedPrediction, top: int) -> str:
    """Lay out an explanation: a line an input, with a bar to the right where it raises."""
    one, asked = found.explanation, found.prediction
    lines, rest = shares(found, top)
    others = len(one.names) - len(lines)
    rows = [(name, _value(found.inputs[name]), size, error) for name, size, error in lines]
    if others:
        rows.append((f"{others} other{'s' if others > 1 else ''}", "", rest, 0.0))
    names = [_shown(row[0]) for row in rows]
    wide, values = max(map(len, names)), max(5, *(len(row[1]) for row in rows))
    longest = max(abs(row[2]) for row in rows) or 1.0
    digits = decimals(found)
    text = [
        f"{_shown(asked.id)}: {asked.score:.6g}, answered by {found.by} at {when(asked.at)}",
        *(f"  by node {node}: {version}" for node, version in found.nodes.items()),
        "",
        f"{'input':<{wide}}  {'value':>{values}}  contribution",
        f"{'base':<{wide}}  {'':>{values}}  {one.base:+12.{digits}f}  mean score of training rows",
    ]
    for name, (_, value, size, error) in zip(names, rows, strict=True):
        line = f"{name:<{wide}}  {value:>{values}}  {size:+12.{digits}f}  {_bar(size / longest)}"
        text.append((line + (f"  ± {1.96 * error:.2g}" if error else "")).rstrip())
    text += [f"{'score':<{wide}}  {'':>{values}}  {one.score:12.{digits}f}", "", _method(found)]
    if not found.same_score:
        text.append(f"the version gives {one.score:.6g} here now, not what was answered")
    return "\n".join(text)


def _method(found: ExplainedPrediction) -> str:
    _, _, by = found.explanation.method.partition(": ")
    if found.explanation.errors:
        return f"estimated from {by} ({found.explanation.evaluations:,} rows asked); ± is 95%"
    return f"exact, from its structure ({by})" if by != "all coalitions" else f"exact, from {by}"


def _bar(share: float) -> str:
    """Return a bar around an axis: to the left where the score was lowered."""
    size = round(abs(share) * _HALF)
    left, right = ("", "█" * size) if share >= 0 else ("█" * size, "")
    return f"{left:>{_HALF}}│{right:<{_HALF}}"


def _value(value: float | str | None) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return "missing"
    text = f"{value:.6g}" if isinstance(value, float) else _shown(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _shown(text: str) -> str:
    """Return text on one line, in which nothing can control the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
