"""A full disk is one clear error, loses nothing that was acknowledged, and passes."""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from setpoint.artifacts.files import FileStore
from setpoint.config import Settings
from setpoint.core.clock import ManualClock
from setpoint.db.local import open_local
from setpoint.errors import Unavailable
from setpoint.events import chain
from setpoint.events.store import record
from setpoint.serve import log
from setpoint.serve.entities import LabelRecord

pytestmark = pytest.mark.crash
MEGABYTES = 4
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that is left; return the file that takes it."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def until_full(write: Callable[[int], None]) -> tuple[int, Unavailable]:
    """Write until it is refused; return how often it worked, and what was said then."""
    for number in itertools.count():
        try:
            write(number)
        except Unavailable as error:
            return number, error
    raise AssertionError


def label(number: int) -> LabelRecord:
    return LabelRecord(at_us=number, model="m", ids=[f"row-{number}"], labels=[1.0])


def test_the_log_refuses_what_it_has_no_room_for_and_keeps_what_it_took(
    small_disk: Path,
) -> None:
    folder = small_disk / "log"
    writer = log.LogWriter(folder, segment_bytes=1 << 18)
    filler = fill(small_disk)
    taken, error = until_full(lambda n: writer.append(label(n)))
    assert "no room for another segment" in error.message
    assert error.hint is not None
    assert error.hint.startswith("free ")
    with pytest.raises(Unavailable):
        writer.append(label(taken))
    filler.unlink()
    writer.append(label(taken))
    writer.close()
    kept = [found.at_us for _, found in log.read(folder)]
    assert kept == list(range(taken + 1))


def test_a_log_that_cannot_begin_says_so_and_begins_once_there_is_room(small_disk: Path) -> None:
    filler = fill(small_disk)
    with pytest.raises(Unavailable):
        log.LogWriter(small_disk / "log", segment_bytes=1 << 18)
    filler.unlink()
    writer = log.LogWriter(small_disk / "log", segment_bytes=1 << 18)
    writer.append(label(1))
    writer.close()


def test_an_artifact_is_stored_whole_or_not_at_all(small_disk: Path) -> None:
    store = FileStore(small_disk / "objects")
    first = store.put(b"first")
    filler = fill(small_disk)
    with pytest.raises(Unavailable, match="cannot store an artifact"):
        store.put(bytes(1_000_000))
    assert list(store.addresses()) == [first]
    filler.unlink()
    assert store.get(store.put(bytes(1_000_000))) == bytes(1_000_000)
    assert not list((small_disk / "objects").rglob(".put-*"))


def test_the_database_keeps_what_was_committed_and_goes_on_once_there_is_room(
    small_disk: Path,
) -> None:
    home = small_disk / "home"
    settings = Settings(home=home, database_url=f"sqlite:///{home / 'setpoint.db'}", actor="ada")
    backend = open_local(settings, ManualClock(NOW))
    filler = fill(small_disk)

    def write(number: int) -> None:
        with backend.engine.begin() as conn:
            record(backend.context(conn), "test.written", f"n:{number}", text="x" * 2000)

    written, error = until_full(write)
    assert "full" in str(error)
    filler.unlink()
    with backend.engine.begin() as conn:
        record(backend.context(conn), "test.written", f"n:{written}")
        chain.seal(conn)
    with backend.engine.execution_options(setpoint_reads=True).begin() as conn:
        report = chain.verify(conn)
    assert report.intact
    assert report.sealed == written + 1
    backend.engine.dispose()
