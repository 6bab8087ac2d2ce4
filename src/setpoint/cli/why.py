"""``setpoint why``: from anything to its causes, and from a row to what it did."""

import click

from setpoint.cli.console import backend, home_option, json_option, say, when
from setpoint.control.why import Trace, Why, trace

_EXAMPLES = """\b
Examples:
  setpoint why prd_01K…                 a prediction, by its id
  setpoint why alm_01K…                 an alarm: evidence, and what it set in motion
  setpoint why rel_01K…                 a release: who decided, and on what
  setpoint why run_01K…                 a run: code, data, what came of it
  setpoint why flights-late/3           a version
  setpoint why dataset:flights/12       a dataset version: who was trained on it
  setpoint why row:UA1545-2013-01-01    a training row: who was trained on it
  setpoint why prediction:flights/3     a prediction whose id looks like a version
  setpoint why -- --json                an id that looks like an option
"""


@click.command("why", epilog=_EXAMPLES, context_settings={"ignore_unknown_options": True})
@home_option
@json_option
@click.option("--model", help="Of the prediction, where several models have its id.")
@click.argument("name", metavar="ID", type=click.UNPROCESSED)
def why(home: str | None, as_json: bool, model: str | None, name: str) -> None:
    """Trace ID to its causes.

    ID is a prediction (any text), an alarm, a release, a run, a version, a dataset version
    or a training row. What cannot be traced any further is marked incomplete.
    """
    found = backend(home).call(trace, Why(id=name, model=model))
    say(tree(found), found, as_json=as_json)


def tree(found: Trace) -> str:
    """Lay out a trace: one line a link, what came from it indented below."""
    names = ["  " * link.depth + f"{link.kind} {link.id}" for link in found.links]
    names = [_shown(name) for name in names]
    width = min(60, max(len(name) for name in names))
    lines = []
    for name, link in zip(names, found.links, strict=True):
        at = when(link.at) if link.at else ""
        mark = "" if link.complete else "incomplete: "
        lines.append(f"{name:<{width}}  {at:<16}  {mark}{_shown(link.says)}".rstrip())
    count = len(found.incomplete)
    lines.append("")
    said = f"{count} {'link is' if count == 1 else 'links are'} incomplete"
    lines.append(said if count else "complete: every link is on record")
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Return text on one line, in which nothing can control the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
