"""A store in this process: operations run in transactions of their own."""

from pathlib import Path

import pytest
from msgspec import Struct
from sqlalchemy import text
from tests.stores import Files, is_open

from setpoint.config import Settings
from setpoint.core.clock import FileClock, ManualClock
from setpoint.core.operations import Context, operation
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Conflict, Unavailable
from setpoint.events import store as events
from setpoint.events.store import record


class Note(Struct, frozen=True, kw_only=True):
    fails: bool = False


class Noted(Struct, frozen=True, kw_only=True):
    by: str
    events: int


@operation("notes.add", needs="notes:write")
def add(ctx: Context, cmd: Note) -> Noted:
    """Note something."""
    record(ctx, "note.added", "note:1")
    if cmd.fails:
        raise Conflict("not today")
    return Noted(by=ctx.actor, events=events.head(ctx.conn))


@operation("notes.count", needs="notes:read")
def count(ctx: Context, cmd: Note) -> Noted:
    """Count what was noted."""
    del cmd
    return Noted(by=ctx.actor, events=events.head(ctx.conn))


def test_an_operation_is_committed_with_who_and_when(backend: LocalBackend) -> None:
    before = backend.call(count, Note()).events
    found = backend.call(add, Note())
    assert found.by == "ada"
    assert backend.call(count, Note()).events > before


def test_an_operation_that_raises_leaves_nothing(backend: LocalBackend) -> None:
    before = backend.call(count, Note())
    with pytest.raises(Conflict):
        backend.call(add, Note(fails=True))
    assert backend.call(count, Note()) == before


def test_a_store_opened_again_has_what_it_had(settings: Settings, clock: ManualClock) -> None:
    for events_before in (0, 1):
        local = open_local(settings, clock)
        assert local.call(count, Note()).events == events_before
        local.call(add, Note())
        local.engine.dispose()


def test_a_replays_clock_is_the_stores_clock(settings: Settings, clock: ManualClock) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    simulated = FileClock(settings.home / "clock", start=clock.now())
    local = open_local(settings)
    with local.engine.begin() as conn:
        assert local.context(conn).now == simulated.now() == clock.now()
    local.engine.dispose()


def test_operations_that_read_do_not_wait_for_a_writer(
    backend: LocalBackend, settings: Settings
) -> None:
    with backend.engine.begin() as conn:
        conn.execute(text("UPDATE models SET versions = versions"))
        assert backend.call(count, Note()).by == settings.actor


def test_a_store_that_cannot_be_upgraded_is_not_left_open(
    tmp_path: Path, file_stores: Files
) -> None:
    newer = Settings(home=tmp_path, database_url=file_stores.empty(tmp_path), actor="ada")
    local = open_local(newer)
    with local.engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    local.engine.dispose()
    with pytest.raises(Conflict, match="written by a newer Setpoint"):
        open_local(newer)
    assert not is_open(tmp_path)


@pytest.mark.parametrize("where", ["file/inside", "/proc/none"])
def test_a_home_that_cannot_be_made_is_one_clear_error(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    home = tmp_path / where
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with pytest.raises(Unavailable, match="cannot make the folder") as caught:
        open_local(Settings(home=home, database_url=url, actor="ada"))
    assert "--home" in caught.value.hint
