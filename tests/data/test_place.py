"""Tables and the prediction log are files of one folder, and who asks elsewhere is told."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest
from msgspec.structs import replace
from tests.conftest import NOON

from setpoint.data import place
from setpoint.data.ingest import ingest
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict

ROWS = pl.DataFrame({"id": [1, 2]})


@pytest.fixture
def elsewhere(backend: LocalBackend, tmp_path: Path) -> LocalBackend:
    """The same database, with another home."""
    return LocalBackend(
        backend.engine, replace(backend.settings, home=tmp_path / "elsewhere"), backend.clock
    )


def _lies_here(backend: LocalBackend) -> bool:
    with backend.reading() as conn:
        return place.require(conn, backend.settings)


def test_the_first_who_writes_has_them_and_others_are_told_where(
    backend: LocalBackend, elsewhere: LocalBackend
) -> None:
    assert (_lies_here(backend), _lies_here(elsewhere)) == (False, False)
    ingest(backend, "t", ROWS, NOON)
    ingest(backend, "t", ROWS.head(1), NOON)
    assert _lies_here(backend)
    for ask in (lambda: _lies_here(elsewhere), lambda: ingest(elsewhere, "t", ROWS, NOON)):
        with pytest.raises(Conflict, match="files of another folder") as caught:
            ask()
        assert str(backend.settings.home) in caught.value.where
        assert "setpoint server" in caught.value.hint
    assert not elsewhere.settings.tables.exists()


def test_a_folder_that_moved_is_the_same_one(
    backend: LocalBackend, elsewhere: LocalBackend
) -> None:
    ingest(backend, "t", ROWS, NOON)
    shutil.copytree(backend.settings.home, elsewhere.settings.home)
    assert ingest(elsewhere, "t", ROWS, NOON).number == 1
    shutil.rmtree(backend.settings.home / "tables")
    (backend.settings.home / "data-home").unlink()
    with pytest.raises(Conflict) as caught:
        _lies_here(backend)
    assert str(elsewhere.settings.home) in caught.value.where


def test_of_two_who_are_first_at_once_one_has_them(
    backend: LocalBackend, elsewhere: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = place._here

    def overtaken(*args: object) -> object:
        monkeypatch.setattr(place, "_here", real)
        place.claim(elsewhere.engine, elsewhere.settings, NOON)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(place, "_here", overtaken)
    with pytest.raises(Conflict):
        place.claim(backend.engine, backend.settings, NOON)
    assert _lies_here(elsewhere)


def test_a_folder_that_many_mark_at_once_has_one_mark(tmp_path: Path) -> None:
    for turn in range(40):
        home = tmp_path / str(turn)
        together = Barrier(6)

        def mark(home: Path = home, together: Barrier = together) -> str:
            together.wait()
            return place._mark(home, make=True)

        with ThreadPoolExecutor(6) as pool:
            marks = {each.result() for each in [pool.submit(mark) for _ in range(6)]}
        assert marks == {place._mark(home)}
        assert marks != {""}
