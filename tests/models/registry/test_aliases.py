"""Who moved an alias, when, from where to where, and why."""

from datetime import timedelta

import pytest
from tests.models.conftest import Adds

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.models import service
from setpoint.models.registry import aliases, commands
from setpoint.models.registry import service as registry


def point(backend: LocalBackend, number: int, alias: str = "champion", why: str = "best") -> None:
    cmd = service.SetAlias(model="guest", alias=alias, number=number, reason=why)
    backend.call(service.alias, cmd)


def test_the_history_of_an_alias_survives_its_model_s_renaming(
    backend: LocalBackend, add: Adds, clock: ManualClock
) -> None:
    add()
    add()
    point(backend, 1, why="first")
    point(backend, 1, "other")
    clock.advance(timedelta(seconds=60))
    backend.call(registry.rename, commands.RenameModel(model="guest", new="friend"))
    backend.call(registry.rename, commands.RenameModel(model="friend", new="guest"))
    point(backend, 2, why="better")
    drop = commands.DropAlias(model="guest", alias="champion", reason="no more")
    assert backend.call(aliases.unalias, drop).number == 2
    assert backend.call(aliases.unalias, drop).number is None
    cmd = commands.AliasHistory(model="guest", alias="champion")
    moves = backend.call(aliases.alias_history, cmd).moves
    assert [(m.was, m.number, m.reason, m.actor) for m in moves] == [
        (2, None, "no more", "ada"),
        (1, 2, "better", "ada"),
        (None, 1, "first", "ada"),
    ]
    assert (moves[0].at - moves[2].at).total_seconds() == 60


@pytest.mark.parametrize("name", ["", "a b", "latest", "Latest", "v1", "V12", "x" * 256, "a/b"])
def test_an_alias_that_would_mean_something_else_is_refused(
    backend: LocalBackend, add: Adds, name: str
) -> None:
    add()
    with pytest.raises(Invalid):
        point(backend, 1, name)
