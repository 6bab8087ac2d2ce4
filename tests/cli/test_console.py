"""What commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.stores import is_open


def test_a_command_closes_the_store_it_opened(project: Path, ask: Callable[..., Any]) -> None:
    assert ask("events", "ls") == {"events": []}
    assert (project / ".setpoint" / "setpoint.db").exists()
    assert not is_open(project / ".setpoint")
