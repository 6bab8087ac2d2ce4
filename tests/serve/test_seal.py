from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from setpoint.core.clock import from_micros
from setpoint.serve import frames
from setpoint.serve import seal as sealing
from setpoint.serve.entities import Position
from setpoint.serve.log import LogWriter, read
from setpoint.serve.seal import seal

from .made import labelled, predicted, shadowed

DAY = 86_400_000_000


def filled(folder: Path) -> Position:
    writer = LogWriter(folder, segment_bytes=2_000)
    for i in range(40):
        writer.append(predicted(f"p{i}", f"q{i}", at_us=i * DAY // 10))
        writer.append(shadowed(f"p{i}", f"q{i}"))
        writer.append(labelled(f"p{i}"))
    writer.append(predicted("failed", status=500, failed=1, scores=b""))
    writer.close()
    LogWriter(folder).close()
    *_, (position, _) = read(folder)
    return Position(position.segment + 1, 0)


def predictions(folder: Path) -> pl.DataFrame:
    pattern = folder / "parquet" / "**" / "predictions-*.parquet"
    return pl.read_parquet(pattern, hive_partitioning=True).sort("at", "id")


def test_sealed_segments_are_parquet_that_polars_reads(tmp_path: Path) -> None:
    followed = filled(tmp_path)
    seal(tmp_path, followed)
    table = predictions(tmp_path)
    assert table.height == 81
    assert set(table["model"]) == {"m"}
    first = table.row(by_predicate=pl.col("id") == "q0", named=True)
    assert first["at"] == from_micros(0)
    assert (first["version"], first["role"], first["score"]) == (1, "live", 0.5)
    assert (first["feature_a"], first["feature_b"], first["feature_city"]) == (2.0, 3.0, "Zürich")
    failed = table.row(by_predicate=pl.col("id") == "failed", named=True)
    assert (failed["score"], failed["status"], failed["failed"]) == (None, 500, 1)
    labels = pl.read_parquet(tmp_path / "parquet" / "**" / "labels-*.parquet")
    assert labels.height == 40
    assert len(list((tmp_path / "parquet" / "model=m").iterdir())) == 4


def test_what_there_is_not_is_null(tmp_path: Path) -> None:
    writer, gap = LogWriter(tmp_path), np.nan
    values = np.array([[1.0, gap], [gap, 4.0]]).tobytes()
    writer.append(predicted("a", "b", values=values, scores=np.array([0.5, gap]).tobytes()))
    redacted = np.array([[gap, 6.0]]).tobytes()
    writer.append(predicted("c", values=redacted, redacted=("a",), status=500, scores=b""))
    writer.append(shadowed("d"))
    writer.append(replace(shadowed("e"), scores=np.array([gap]).tobytes()))
    writer.close()
    LogWriter(tmp_path).close()
    seal(tmp_path, Position(9, 0))
    table = predictions(tmp_path)
    assert table["feature_a"].to_list() == [1.0, None, None]
    assert table["feature_b"].to_list() == [None, 4.0, 6.0]
    assert table["score"].to_list() == [0.5, None, None]
    shadows = pl.read_parquet(tmp_path / "parquet" / "**" / "shadows-*.parquet")
    assert shadows["score"].to_list() == [0.25, None]


def test_sealed_segments_are_gone_and_the_last_one_stays(tmp_path: Path) -> None:
    followed = filled(tmp_path)
    last = frames.segments(tmp_path)[-1]
    seal(tmp_path, followed)
    assert frames.segments(tmp_path) == [last]
    assert seal(tmp_path, followed) == []
    assert list(read(tmp_path)) == []
    writer = LogWriter(tmp_path)
    assert writer.position.segment == last + 1
    writer.close()


def test_what_was_not_followed_is_not_touched(tmp_path: Path) -> None:
    filled(tmp_path)
    before = frames.segments(tmp_path)
    seal(tmp_path, Position(3, 100))
    assert frames.segments(tmp_path) == before[2:]


def test_a_sealer_killed_before_it_deleted_does_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = filled(tmp_path)
    killed = KeyboardInterrupt

    def kill(_: Path) -> None:
        raise killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **_: kill(path))
        with pytest.raises(killed):
            seal(tmp_path, followed)
    seal(tmp_path, followed)
    assert predictions(tmp_path).height == 81
    assert predictions(tmp_path)["id"].n_unique() == 81


def test_a_model_name_that_is_no_folder_name_is_quoted(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append(predicted("a", model="../late flights"))
    writer.close()
    LogWriter(tmp_path).close()
    assert sealing.seal(tmp_path, Position(2, 0))[0].is_relative_to(tmp_path / "parquet")
    assert predictions(tmp_path)["model"].to_list() == ["../late flights"]
