"""Writes docs/reference from the code: ``python -m tests.docs.reference`` (``make docs``)."""

import re
from pathlib import Path
from typing import Any

import click
import msgspec

from setpoint.cli.main import COMMANDS, EXIT_CODES, cli
from setpoint.config import AWS_VARIABLES, OTEL_VARIABLES, Serving, Settings
from setpoint.control.spec import shapes
from setpoint.control.spec.explain import explain, shown
from setpoint.control.spec.graphs import GraphSpec, Node
from setpoint.control.spec.parse import parse
from setpoint.control.spec.shapes import Key
from setpoint.operations import OPERATIONS

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
_MADE = "<!-- Made by `make docs`; do not edit. -->\n"
_EXAMPLE = """
model: churn
objective: {metric: roc_auc, at_least: 0.7}
data: {source: customers.csv, label: {column: churned}, time: reviewed_at}
features: [churn:usage]
train: {code: churn:train}
"""


def pages() -> dict[str, str]:
    """Return the pages, by file name."""
    return {
        "cli.md": _cli(),
        "operations.md": _operations(),
        "settings.md": _settings(),
        "spec.md": _spec(),
    }


def _cli() -> str:
    parts = [_MADE, "# Commands\n", "Every command takes `--help`; most take `--json`.\n"]
    context = click.Context(cli, info_name="setpoint")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts += _command(command, f"setpoint {name}")
    codes = "\n".join(
        f"| {code} | {kind.__name__} | {(kind.__doc__ or '').partition(chr(10))[0]} |"
        for kind, code in EXIT_CODES.items()
    )
    parts.append(
        "## Exit codes\n\n| code | kind | when |\n|---|---|---|\n| 0 | | it worked |\n"
        "| 1 | | it worked, and the answer is no: a training failed or was refused, a check "
        f"fails, a chain is broken |\n{codes}\n| 130 | | stopped by Ctrl-C |\n"
    )
    return "\n".join(parts)


def _command(command: click.Command, path: str) -> list[str]:
    context = click.Context(command, info_name=path, max_content_width=90, terminal_width=90)
    parts = [f"## {path}\n", f"```text\n{command.get_help(context).rstrip()}\n```\n"]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            parts += _command(inner, f"{path} {name}")
    return parts


def _operations() -> str:
    rows = [
        f"| `{op.name}` | `{op.needs}` | {_fields(op.command)} | `{op.result.__name__}` | "
        f"{op.summary} |"
        for op in OPERATIONS.values()
    ]
    return "\n".join(
        [
            _MADE,
            "# Operations\n",
            "Each is `POST /api/v1/NAME` with the command as JSON.",
            "`/api/v1/openapi.json` describes them all.\n",
            "| operation | needs | command | result | what |\n|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _fields(command: Any) -> str:
    fields = msgspec.structs.fields(command)
    return ", ".join(f"`{f.name}`" if f.required else f"[`{f.name}`]" for f in fields) or "none"


def _settings() -> str:
    source = Path(__file__).parents[2] / "src" / "setpoint" / "config.py"
    meanings = dict(re.findall(r"^    (\w+): .*  #: (.+)$", source.read_text(), re.MULTILINE))
    rows = [
        f"| `{name}` | `SETPOINT_{name.upper()}` | {meanings[name].replace('``', '`')} |"
        for name in Settings.__struct_fields__
        if name != "aws"
    ]
    reached = [
        f"| {', '.join(f'`{variable}`' for variable in variables)} | {meanings[name]} |"
        for name, variables in AWS_VARIABLES.items()
    ]
    serving = [
        f"| `SETPOINT_SERVE_{name.upper()}` | {meanings[name]} |"
        for name in Serving.__struct_fields__
    ]
    return "\n".join(
        [
            _MADE,
            "# Settings\n",
            "An option (`--home`) wins over the environment, the environment over the default.\n",
            "| setting | variable | what |\n|---|---|---|",
            *rows,
            "\n## How the bucket of `artifact_url` is reached\n",
            "The first variable that is set counts. Without keys, the role of the machine does.\n",
            "| variable | what |\n|---|---|",
            *(row.replace("``", "`") for row in reached),
            "\n## How a package is served\n",
            "Read by an image, and by `python -m setpoint.serve --package DIR`.\n",
            "| variable | what |\n|---|---|",
            *(row.replace("``", "`") for row in serving),
            "\n## Where spans of inference go\n",
            "Off without an endpoint; needs `pip install 'setpoint[otel]'`. What else there is",
            "(headers, certificates, samplers, the resource) OpenTelemetry's SDK reads itself.\n",
            "| variable | what |\n|---|---|",
            *(f"| `{name}` | {meaning} |" for name, meaning in OTEL_VARIABLES.items()),
            "",
        ]
    )


def _spec() -> str:
    spec = parse(_EXAMPLE)
    rows = []
    for row in explain(spec):
        said = f"{row.meaning}; {row.consequence}" if row.consequence else row.meaning
        value = f"`{row.value}`" if row.default else "required or set"
        meaning = said.replace("|", "\\|")
        rows.append(f"| `{row.path}` | {value} | {meaning} |")
    return "\n".join(
        [
            _MADE,
            "# Keys of the setpoint file\n",
            f"The defaults below are those of this small spec:\n\n```yaml{_EXAMPLE}```\n",
            "`setpoint explain` shows the same of yours; `setpoint schema` prints a schema.\n",
            "| key | default | what |\n|---|---|---|",
            *rows,
            "",
            "## Of a graph\n",
            "A file with `graph:` has these, `owner`, `purpose` and `serve` besides",
            "([how to](../how-to/combine-models.md)).",
            "A node is one of model, transform, chain, ensemble and switch.\n",
            "| key | default | what |\n|---|---|---|",
            *(_key(f"graph.NODE.{key.name}", key) for key in shapes.keys(Node)),
            *(_key(key.name, key) for key in shapes.keys(GraphSpec) if key.name == "answer"),
            "",
        ]
    )


def _key(path: str, key: Key) -> str:
    doc = key.doc
    said = f"{doc.meaning}; {doc.consequence}" if doc.consequence else doc.meaning
    default = shown(key.default, key.shape) if key.default else "not set"
    return f"| `{path}` | `{default}` | {said} |"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
