"""However many processes write a log, and however many wrote it before, it is read once."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from setpoint.errors import Conflict
from setpoint.serve import frames, writers
from setpoint.serve.entities import Place, Position, PredictionRecord
from setpoint.serve.log import LogWriter
from setpoint.serve.seal import seal

from .made import labelled, predicted


def read(folder: Path, after: Place) -> tuple[list[str], Place]:
    """Return the ids of what comes after a place, and the place after them."""
    found = list(writers.read(folder, after))
    to = {writer: position for writer, position, _ in found}
    return [row for _, _, one in found for row in one.ids], writers.moved(after, to)


def test_what_several_write_is_read_by_its_time_and_once(tmp_path: Path) -> None:
    first, second = writers.open_free(tmp_path), writers.open_free(tmp_path)
    for i in range(6):
        (first, second)[i % 2].append(predicted(f"r{i}", at_us=i))
    ids, place = read(tmp_path, Place())
    assert ids == [f"r{i}" for i in range(6)]
    assert read(tmp_path, place) == ([], place)
    second.append(labelled("r0"))
    assert read(tmp_path, place)[0] == ["r0"]
    first.close()
    second.close()


def test_another_number_of_processes_goes_on_where_the_log_was(tmp_path: Path) -> None:
    """One process, then three, then one, then two: each start begins where others left."""
    place, seen, count = Place(), Counter[str](), 0
    for processes in (1, 3, 1, 2):
        writers.finish(tmp_path)
        running = [LogWriter(tmp_path)] if processes == 1 else []
        running += [writers.open_free(tmp_path) for _ in range(processes if processes > 1 else 0)]
        for _ in range(2):
            for one in running:
                one.append(predicted(f"r{count}", at_us=count))
                count += 1
            ids, place = read(tmp_path, place)
            seen.update(ids)
        for one in running:
            one.close()
    assert sorted(seen.items()) == sorted((f"r{i}", 1) for i in range(count))


def test_a_place_of_one_process_is_kept_as_before(tmp_path: Path) -> None:
    assert writers.moved(Place(), {"": Position(3, 40)}) == Place(3, 40)
    with_others = writers.moved(Place(3, 40), {"w2": Position(1, 16)})
    assert with_others == Place(3, 40, {"w2": Position(1, 16)})
    assert with_others.of("w1") == Position()
    assert writers.writers(tmp_path) == [""]


def test_a_folder_is_one_writers_and_the_next_takes_another(tmp_path: Path) -> None:
    first = writers.open_free(tmp_path)
    with pytest.raises(Conflict):
        LogWriter(tmp_path / "w1")
    second = writers.open_free(tmp_path)
    first.close()
    third = writers.open_free(tmp_path)
    third.append(predicted("x"))
    assert writers.writers(tmp_path) == ["", "w1", "w2"]
    second.close()
    third.close()
    assert len(frames.segments(tmp_path / "w1")) == 2


def test_what_a_writer_left_that_does_not_come_back_is_sealed_too(tmp_path: Path) -> None:
    first, second = writers.open_free(tmp_path), writers.open_free(tmp_path)
    first.append(predicted("a"))
    second.append(predicted("b"))
    first.close()
    second.close()
    again = writers.open_free(tmp_path)
    writers.finish(tmp_path)
    writers.finish(tmp_path)  # once is enough
    assert frames.segments(tmp_path / "w2") == [1, 2, 3]
    _, place = read(tmp_path, Place())
    followed = writers.settled(tmp_path, place)
    assert followed == Place(0, 0, {"w1": Position(2, 0), "w2": Position(3, 0)})
    sealed = seal(tmp_path, followed)
    assert sorted(path.name for path in sealed) == [
        "predictions-w1-00000001.parquet",
        "predictions-w2-00000001.parquet",
    ]
    assert sorted(row for path in sealed for row in pl.read_parquet(path)["id"]) == ["a", "b"]
    assert frames.segments(tmp_path / "w2") == [3]
    again.append(predicted("c"))
    ids = [
        row
        for _, _, one in writers.read(tmp_path, followed)
        if isinstance(one, PredictionRecord)
        for row in one.ids
    ]
    assert ids == ["c"]
    again.close()
