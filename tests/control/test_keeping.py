"""The log gets older: it is sealed once, kept as long as promised, and no longer."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.control import made
from tests.control.made import MODEL, labelled, predicted
from tests.monitor import windows

from setpoint.artifacts.store import open_store
from setpoint.control import keeping
from setpoint.control.controller import Controller
from setpoint.control.follow import Follower
from setpoint.control.keeping import Keeper
from setpoint.control.store import need
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend, open_local
from setpoint.events.store import newest
from setpoint.runs import service as runs
from setpoint.runs.commands import KeepRuns
from setpoint.runs.entities import Artifact
from setpoint.runs.expiring import keep as keep_runs
from setpoint.serve import frames, writers
from setpoint.serve import seal as sealing
from setpoint.serve import store as serving
from setpoint.serve.log import LogWriter

DAY = timedelta(days=1)


class Kept:
    """A store with one version, and a log of two predictions a day in small segments."""

    def __init__(self, home: LocalBackend, folder: Path, clock: ManualClock) -> None:
        self.home, self.clock, self.folder = home, clock, folder
        made.apply(home, folder, serve={"log": {"keep": "5d"}})
        made.version(home, found=made.reference())
        self.writer = LogWriter(home.settings.log, segment_bytes=600)
        self.written = 0
        self.restart()

    def restart(self) -> None:
        self.follower = Follower(self.home)
        self.keeper = Keeper(self.home, self.follower)

    def day(self) -> None:
        ids = [f"p{self.written}", f"p{self.written + 1}"]
        self.written += 2
        now = self.clock.now()
        self.writer.append(predicted(ids, at=now))
        self.writer.append(labelled(ids[:1], [1.0], at=now))
        self.follower.follow()
        self.clock.advance(DAY)

    def keep(self) -> None:
        self.keeper.seal()
        with self.home.engine.begin() as conn:
            applied = need(conn, MODEL)
        self.keeper.expire(applied)

    def rows(self) -> int:
        with self.home.engine.begin() as conn:
            return serving.count_predictions(conn, MODEL)[0]

    def days(self) -> set[str]:
        return {path.name for path in self.home.settings.log.glob("parquet/*/dt=*")}

    def sealed(self) -> list[str]:
        files = self.home.settings.log.glob("parquet/**/predictions-*.parquet")
        return sorted(name for file in files for name in pl.read_parquet(file)["id"])


@pytest.fixture
def kept(backend: LocalBackend, tmp_path: Path, clock: ManualClock) -> Iterator[Kept]:
    found = Kept(backend, tmp_path / "project", clock)
    yield found
    found.writer.close()


def test_sealing_killed_anywhere_loses_and_doubles_nothing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(10):
        kept.day()
    with monkeypatch.context() as patched:
        patched.setattr(frames, "sync_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            kept.keeper.seal()
    kept.restart()
    kept.follower.follow()
    kept.keeper.seal()
    sealed = kept.sealed()
    assert len(sealed) == len(set(sealed)) > 8
    assert kept.rows() == 20
    left = frames.segments(kept.home.settings.log)
    assert len(left) >= 2, "the segment being read and one before it stay"
    assert left[-2] <= kept.follower.position.segment
    again = sealing.seal(kept.home.settings.log, kept.follower.position)
    assert not set(again) & set(sealed)


def test_what_a_process_left_that_does_not_come_back_is_sealed_and_expires(kept: Kept) -> None:
    kept.day()
    worker = writers.open_free(kept.home.settings.log)
    worker.append(predicted(["left"], at=kept.clock.now()))
    worker.close()
    kept.day()
    kept.keep()
    assert "left" not in kept.sealed(), "its last segment may still be written to"
    writers.finish(kept.home.settings.log)  # as a server does when it starts
    kept.day()
    kept.keep()
    assert kept.sealed().count("left") == 1
    assert kept.rows() == 7
    for _ in range(9):
        kept.day()
    kept.keep()
    assert "left" not in kept.sealed()


def test_what_is_older_than_promised_goes_and_the_rest_stays(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_BATCH", 3)
    for _ in range(10):
        kept.day()
    kept.keep()
    assert kept.rows() == 10
    assert "p0" not in kept.sealed()
    with kept.home.engine.begin() as conn:
        expired = newest(conn, f"model:{MODEL}", "log.expired", limit=100)
    assert sum(e.detail["rows"] for e in expired) == 10
    kept.keep()
    assert kept.rows() == 10, "once a day"


@pytest.mark.parametrize(("keep", "retention", "left"), [("5d", "3d", 3), ("2d", "400d", 2)])
def test_the_shorter_of_keep_and_retention_counts_and_what_was_added_up_stays(
    kept: Kept, keep: str, retention: str, left: int
) -> None:
    made.apply(
        kept.home,
        kept.folder,
        serve={"log": {"keep": keep}},
        privacy={"retention": retention},
    )
    for _ in range(10):
        kept.day()
    with kept.home.engine.begin() as conn:
        before = {key: one.encode() for key, one in windows.joints(conn, MODEL).items()}
    kept.keep()
    assert kept.rows() == 2 * left
    with kept.home.engine.begin() as conn:
        after = {key: one.encode() for key, one in windows.joints(conn, MODEL).items()}
        expired = newest(conn, f"model:{MODEL}", "log.expired", limit=100)
        chances = [serving.known_ids(conn, MODEL, [f"p{i}"]) for i in range(20)]
    assert after == before != {}
    assert chances == [[]] * (20 - 2 * left) + [[f"p{i}"] for i in range(20 - 2 * left, 20)]
    assert sum(e.detail["files"] for e in expired) > 0
    assert sum(e.detail["bytes"] for e in expired) > 1000
    oldest = kept.clock.now() - left * DAY
    assert all(f"dt={(oldest - DAY * i).date()}" not in kept.days() for i in range(1, 12))


def test_what_was_deleted_is_not_in_the_database_file(tmp_path: Path, clock: ManualClock) -> None:
    home = open_local(made.home_at(tmp_path / "home"), clock)
    kept = Kept(home, tmp_path / "project", clock)
    kept.writer.append(predicted(["secret-of-ada"], at=clock.now()))
    kept.day()
    clock.advance(9 * DAY)
    kept.keep()
    assert kept.rows() == 0
    kept.writer.close()
    home.engine.dispose()  # the last connection takes the write-ahead log into the file
    for file in (tmp_path / "home").glob("setpoint.db*"):
        assert b"secret-of-ada" not in file.read_bytes(), file


def test_the_controller_seals_and_expires(kept: Kept) -> None:
    for _ in range(10):
        kept.day()
    controller = Controller(kept.home)
    controller.tick()
    assert kept.rows() == 10
    assert kept.sealed()
    controller.close()


def test_old_runs_are_deleted_by_their_rule_and_freed_a_month_later(
    backend: LocalBackend, clock: ManualClock
) -> None:
    objects = open_store(backend.settings)
    left = {"model.bin": Artifact(address=objects.put(b"m" * 5_000), size=5_000)}
    for name in ("first", "second"):
        backend.call(runs.start, runs.Start(id=name, experiment="late"))
    backend.call(runs.log, runs.Log(run="first", artifacts=left))
    for name in ("first", "second"):
        backend.call(runs.finish, runs.Finish(run=name))
    rule = KeepRuns(days=10, reason="the disk")
    backend.call(keep_runs, rule)
    keeper = Keeper(backend, Follower(backend))

    def told(kind: str) -> list[dict[str, object]]:
        with backend.reading() as conn:
            return [each.detail for each in newest(conn, "runs", kind, limit=9)]

    clock.advance(10 * DAY)
    keeper.runs()
    assert told("runs.expired") == [{"runs": 2, "experiments": {"late": 2}}]
    assert objects.has(left["model.bin"].address), "it can be restored for a month"
    clock.advance(30 * DAY)
    Keeper(backend, Follower(backend)).runs()
    (freed,) = told("runs.collected")
    assert (freed["runs"], freed["objects"], freed["bytes"]) == (2, 1, 5_000)
    assert not objects.has(left["model.bin"].address)
    keeper.runs()
    assert len(told("runs.collected")) == 1, "nothing is left to free"
