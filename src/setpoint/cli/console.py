"""What commands share: the store they work on, and one way to show a result."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from setpoint.config import settings
from setpoint.db.local import LocalBackend, open_local

F = TypeVar("F", bound=Callable[..., Any])


def home_option(command: F) -> F:
    """Add ``--home DIR``."""
    return click.option(
        "--home",
        metavar="DIR",
        help="Folder of the store. Default: .setpoint, or $SETPOINT_HOME.",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(
        command
    )


def backend(home: str | None) -> LocalBackend:
    """Open the store in `home` until the command ends."""
    opened = open_local(settings(home))
    click.get_current_context().call_on_close(opened.engine.dispose)
    return opened


def say(text: str, value: object, *, as_json: bool) -> None:
    """Print `text` for a person, or `value` as JSON for a program."""
    click.echo(msgspec.json.encode(value, enc_hook=str).decode() if as_json else text)


def table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "nothing yet"
) -> str:
    """Lay out rows in aligned columns; numbers to the right.

    Example:
        >>> print(table(["name", "n"], [["a", 1], ["bc", 20]]))
        name   n
        a      1
        bc    20
    """
    if not rows:
        return empty
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(len(header), *(len(row[i]) for row in cells)) for i, header in enumerate(headers)]
    right = [
        all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(headers))
    ]

    def line(values: Sequence[str]) -> str:
        parts = (
            value.rjust(width) if to_right else value.ljust(width)
            for value, width, to_right in zip(values, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(headers), *(line(row) for row in cells)])


def when(at: datetime | None) -> str:
    """Return a time as people read it: UTC, to the minute."""
    return "-" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return when(value)
    return str(value)
