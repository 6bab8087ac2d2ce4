"""Segments that others finish become the log's, once, whatever writes and reads meanwhile."""

import threading
from pathlib import Path

import polars as pl
import pytest

from setpoint.errors import Unavailable
from setpoint.serve import frames, handover
from setpoint.serve.entities import BatchRecord, Position, PredictionRecord
from setpoint.serve.log import BEGINNING, LogWriter, read
from setpoint.serve.seal import seal

from .made import predicted


def batch(*ids: str) -> BatchRecord:
    record = predicted(*ids, roles=b"\3" * len(ids))
    return BatchRecord(**{name: getattr(record, name) for name in record.__struct_fields__})


def ids(folder: Path, after: Position = BEGINNING) -> list[str]:
    return [record.ids[0] for _, record in read(folder, after)]


def test_a_segment_is_nobodys_until_it_is_released(tmp_path: Path) -> None:
    handover.write(tmp_path, "bat_1.0", [batch("a"), batch("b")])
    LogWriter(tmp_path).close()
    assert ids(tmp_path) == []
    handover.write(tmp_path, "bat_1.0", [batch("c")])  # again: the one before is gone
    handover.release(tmp_path, "bat_1.0")
    LogWriter(tmp_path).close()
    handover.release(tmp_path, "bat_1.0")
    LogWriter(tmp_path).close()
    assert ids(tmp_path) == ["c"]
    assert not list(handover.folder_of(tmp_path).iterdir())


def test_records_stay_rows_of_a_table(tmp_path: Path) -> None:
    handover.write(tmp_path, "bat_1.0", [batch("a")])
    handover.release(tmp_path, "bat_1.0")
    LogWriter(tmp_path).close()
    ((_, record),) = read(tmp_path)
    assert record == batch("a")
    assert isinstance(record, BatchRecord)


def test_a_reader_misses_nothing_while_segments_are_taken_over(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, segment_bytes=4_096, sync_seconds=0.001)
    done = threading.Event()

    def write() -> None:
        try:
            for n in range(300):
                writer.append(predicted(f"w{n}"))
                if n % 3 == 0:
                    handover.write(tmp_path, f"bat_1.{n:08d}", [batch(f"b{n}"), batch(f"c{n}")])
                    handover.release(tmp_path, f"bat_1.{n:08d}")
            writer.adopt()
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen: list[str] = []
    after = BEGINNING
    while True:
        last = done.is_set()
        for position, record in read(tmp_path, after):
            after = position
            seen.append(record.ids[0])
        if last:
            break
    thread.join()
    writer.close()
    assert len(seen) == len(set(seen)) == 500
    assert [one for one in seen if one[0] == "w"] == [f"w{n}" for n in range(300)]


def test_without_room_for_what_follows_nothing_is_taken_over(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, sync_seconds=3_600)
    handover.write(tmp_path, "bat_1.0", [batch("a")])
    handover.release(tmp_path, "bat_1.0")
    (tmp_path / "next-2.new").mkdir()  # nothing can be written where the next segment begins
    with pytest.raises(Unavailable, match="no room"):
        writer.adopt()
    writer.append(predicted("w"))
    assert ids(tmp_path) == ["w"]
    (tmp_path / "next-2.new").rmdir()
    writer.adopt()
    writer.append(predicted("x"))
    writer.close()
    assert ids(tmp_path) == ["w", "a", "x"]


def test_files_are_renamed_all_or_none(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileNotFoundError):
        handover.rename(
            [tmp_path / "a", tmp_path / "b", tmp_path / "gone"],
            [tmp_path / "1", tmp_path / "2", tmp_path / "3"],
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_was_never_released_can_be_discarded(tmp_path: Path) -> None:
    for name in ("bat_1.0", "bat_1.1", "bat_2.0"):
        handover.write(tmp_path, name, [batch(name)])
    handover.release(tmp_path, "bat_1.0")
    handover.discard(tmp_path, "bat_1.")
    handover.release(tmp_path, "bat_2.0")
    LogWriter(tmp_path).close()
    assert ids(tmp_path) == ["bat_1.0", "bat_2.0"]
    assert all(isinstance(record, PredictionRecord) for _, record in read(tmp_path))
    assert frames.segments(tmp_path) == [1, 2, 3]


def test_rows_of_a_table_are_sealed_as_predictions(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append(predicted("w"))
    writer.close()
    handover.write(tmp_path, "bat_1.0", [batch("a", "b")])
    handover.release(tmp_path, "bat_1.0")
    LogWriter(tmp_path).close()
    sealed = [pl.read_parquet(path) for path in seal(tmp_path, Position(99))]
    found = pl.concat(sealed, how="diagonal_relaxed")
    assert found["id"].to_list() == ["w", "a", "b"]
    assert found["role"].to_list() == ["live", "batch", "batch"]
