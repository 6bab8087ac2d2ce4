"""Tables are read as the spec says, and features made of them."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from setpoint.control.project import Project, load
from setpoint.control.sources import features, table
from setpoint.errors import Invalid, NotFound, UserCodeFailed

NOW = datetime(2024, 1, 3, tzinfo=UTC)
CODE = """\
import polars as pl
import setpoint as sp

def rows(now):
    frame = pl.DataFrame({"at": [now], "x": [1]})
    return frame.filter(pl.col("at") <= now)

def nothing():
    return 3

def broken(now):
    raise ValueError("no rows today")

@sp.features(on="rows")
def twice(rows):
    import helper
    return [(pl.col("x") * helper.FACTOR).alias("twice")]

@sp.feature_view(by="x", at="at")
def view(rows):
    return rows.select("x", "at", seen=pl.lit(1))

def plain(rows):
    return []
"""


def project(folder: Path, source: str, rest: str = "") -> Project:
    (folder / "m.setpoint.yaml").write_text(
        f"model: m\ndata: {{source: {{rows: {source}}}{rest}\ntrain: {{code: work:train}}\n"
    )
    (folder / "work.py").write_text(CODE)
    (folder / "helper.py").write_text("FACTOR = 2")
    return load(folder)


def read(found: Project) -> pl.DataFrame:
    return table(found, found.spec(), "rows", NOW).collect()


def test_csv_files_get_their_times_recognised_as_utc(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("at,x\n2024-01-01T08:00:00,1\n2024-01-02T08:00:00,2\n")
    frame = read(project(tmp_path, "r.csv", "}"))
    assert frame["at"][0] == datetime(2024, 1, 1, 8, tzinfo=UTC)


def test_parquet_files_are_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [1, None], "né": ["a", "b"]})
    frame.write_parquet(tmp_path / "r.PARQUET")
    assert read(project(tmp_path, "r.PARQUET", "}")).equals(frame)


def test_functions_are_given_the_time(tmp_path: Path) -> None:
    assert read(project(tmp_path, '"work:rows"', "}"))["at"][0] == NOW


def test_a_missing_file_comes_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    with pytest.raises(NotFound, match="there is no file") as caught:
        read(project(tmp_path, "rosw.csv", "}"))
    assert "did you mean “rows.csv”?" in caught.value.hint
    assert caught.value.where.endswith("m.setpoint.yaml:2")


@pytest.mark.parametrize(("name", "content"), [("r.csv", b""), ("r.parquet", b"PAR1 not")])
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Invalid, match="cannot be read"):
        read(project(tmp_path, name, "}"))


def test_a_function_that_gives_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="work:nothing returned int"):
        read(project(tmp_path, '"work:nothing"', "}"))


def test_a_function_that_raises_is_blamed_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserCodeFailed, match="ValueError: no rows today") as caught:
        read(project(tmp_path, '"work:broken"', "}"))
    assert "work.py:12, in broken" in caught.value.where


def made(folder: Path, code: str, rest: str = ", time: at}") -> pl.DataFrame:
    found = project(folder, '"work:rows"', f"{rest}\nfeatures: [{code}]")
    rows = read(found)
    return features(found, found.spec(), rows, {"rows": rows})


def test_features_may_import_their_siblings_late(tmp_path: Path) -> None:
    assert made(tmp_path, "work:twice").to_dict(as_series=False) == {"twice": [2]}


def test_features_of_the_row_need_no_time(tmp_path: Path) -> None:
    assert made(tmp_path, "work:twice", "}").columns == ["twice"]


def test_a_view_without_a_time_says_what_to_set(tmp_path: Path) -> None:
    assert made(tmp_path, "work:view")["seen"][0] == 1
    with pytest.raises(Invalid, match="as known at a time") as caught:
        made(tmp_path, "work:view", "}")
    assert "set data.time" in caught.value.hint


def test_a_function_without_its_decorator_is_no_feature(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no feature") as caught:
        made(tmp_path, "work:plain")
    assert "@sp.features" in caught.value.hint


def test_without_functions_all_numbers_but_label_entity_and_time_are_features(
    tmp_path: Path,
) -> None:
    found = project(tmp_path, "r.csv", ", entity: id}")
    rows = pl.DataFrame({"id": [1], "label": [0], "x": [1.5], "on": [True], "name": ["a"]})
    assert features(found, found.spec(), rows, {}).columns == ["x", "on"]
    with pytest.raises(Invalid, match="no numeric column"):
        features(found, found.spec(), rows.select("id", "label", "name"), {})
