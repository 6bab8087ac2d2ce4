"""How a version is made: which rows are known, which test it, which train it."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import NOON
from tests.control import made
from tests.control.made import CODE

from setpoint.artifacts.store import open_store
from setpoint.control.making import ID, LABEL, SLICE, TIME, Making, features_of
from setpoint.control.sources import table
from setpoint.data.ingest import ingest
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.runs import service as runs
from setpoint.runs.handle import Handle

TIMED = CODE.replace(
    '"y": y.astype(float)})',
    '"y": y.astype(float), "city": ["here", "there"] * 300})'
    ".with_columns(at=pl.lit(now) - pl.duration(hours=pl.int_range(600)),"
    " told=pl.lit(now) + pl.duration(hours=100) - pl.duration(hours=pl.int_range(600)))",
)
DAY = timedelta(days=1)

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Made:
    """The steps of one project at noon, and the table they begin with."""

    def __init__(
        self, home: LocalBackend, folder: Path, code: str = TIMED, **changed: object
    ) -> None:
        project = made.project(folder, code=code, **changed)
        (one,) = project.specs
        rows = table(project, one, "rows", NOON)
        version = ingest(home, "rows", rows, NOON)
        run = home.call(runs.start, runs.Start(experiment="m")).id
        handle = Handle(home, open_store(home.settings), run)
        self.making = Making(home.settings, project, one, known_by=NOON, run=handle)
        self.deltas = {"rows": version.delta_version}

    def table(self) -> pl.DataFrame:
        return self.making.table({"rows": 1}, self.deltas)


def test_the_table_has_what_judging_needs_and_the_features(
    backend: LocalBackend, tmp_path: Path
) -> None:
    data = {"time": "at", "contract": None}
    slices = {"slices": {"by": ["city"], "roc_auc": {"at_least": 0.5}}}
    found = Made(backend, tmp_path, data=data, guardrails=slices).table()
    assert found.columns == [ID, TIME, LABEL, SLICE + "city", "a", "b"]
    assert features_of(found).columns == ["a", "b"]
    assert found[TIME].is_sorted()


def test_rows_whose_label_is_not_known_yet_are_left_out(
    backend: LocalBackend, tmp_path: Path
) -> None:
    by_column = {"time": "at", "label": {"column": "y", "delay": "told"}, "contract": None}
    by_time = {"time": "at", "label": {"column": "y", "delay": "10h"}, "contract": None}
    assert Made(backend, tmp_path / "1", data=by_column).table().height == 500
    assert Made(backend, tmp_path / "2", data=by_time).table().height == 590


def test_rows_older_than_the_retention_are_not_trained_on(
    backend: LocalBackend, tmp_path: Path
) -> None:
    data = {"time": "at", "contract": None}
    found = Made(backend, tmp_path, data=data, privacy={"retention": "10d"}).table()
    assert found.height == 241, "an hour each, the newest now"
    assert found[TIME].min() == NOON - 10 * DAY


def test_the_newest_rows_test_and_the_window_before_them_trains(
    backend: LocalBackend, tmp_path: Path
) -> None:
    data = {"time": "at", "contract": None}
    train = {"split": {"by": "time", "test": "2d"}, "window": "5d"}
    found = Made(backend, tmp_path, data=data, train=train)
    rows = found.table()
    test, training = found.making.test(rows), found.making.train(rows)
    assert (test.height, training.height) == (48, 120)
    assert training[TIME].max() < test[TIME].min()  # type: ignore[operator]
    assert test[TIME].min() - training[TIME].min() == 5 * DAY  # type: ignore[operator]


def test_a_share_by_time_takes_the_newest_and_by_chance_any_the_same_each_time(
    backend: LocalBackend, tmp_path: Path
) -> None:
    data = {"time": "at", "contract": None}
    newest = Made(
        backend, tmp_path / "1", data=data, train={"split": {"by": "time", "test": "10%"}}
    )
    assert newest.making.test(newest.table()).height == 60
    chance = Made(backend, tmp_path / "2")
    rows = chance.table()
    assert chance.making.test(rows).equals(chance.making.test(rows))
    assert chance.making.test(rows).height == 193


def test_a_split_that_leaves_nothing_says_how_many_rows_there_are(
    backend: LocalBackend, tmp_path: Path
) -> None:
    data = {"time": "at", "contract": None}
    found = Made(backend, tmp_path, data=data, train={"split": {"by": "time", "test": "90d"}})
    with pytest.raises(Invalid, match="600 rows to test on and 0 to train on") as caught:
        found.making.test(found.table())
    assert "m.setpoint.yaml" in caught.value.where


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"label": {"column": "truth"}}, "no label column 'truth' in 'rows'"),
        ({"entity": "number"}, "a column that the spec of 'm' names cannot be used"),
        ({"label": {"column": "id"}, "entity": None}, "cannot be used"),
    ],
)
def test_columns_that_are_not_there_are_named(
    backend: LocalBackend, tmp_path: Path, data: dict[str, object], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        Made(backend, tmp_path, data=data).table()


def test_what_is_made_names_its_training_rows(backend: LocalBackend, tmp_path: Path) -> None:
    found = Made(backend, tmp_path)
    rows = found.table()
    fitted = found.making.fitted(rows)
    assert found.making.baseline(rows) is None
    scores = found.making.scores(rows, fitted)
    result = found.making.made(rows, fitted, scores)
    assert (result.trained_on, result.tested_on) == (407, 193)
    assert len(scores) == 193
    assert result.stored == fitted
