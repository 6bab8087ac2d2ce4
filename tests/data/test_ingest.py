"""Ingesting: what is newly known, exactly once; failing rows kept with their reasons."""

import io
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

import setpoint
from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.data import ingest as module
from setpoint.data import tables_delta
from setpoint.data.checks import REASONS
from setpoint.data.contract import parse
from setpoint.data.entities import DatasetVersion
from setpoint.data.ingest import ingest, reconcile
from setpoint.data.service import ListDatasets, ShowDataset, ls, show, validate
from setpoint.db.local import LocalBackend, open_local
from setpoint.errors import Invalid, NotFound
from setpoint.events.store import since

START = datetime(2026, 1, 1, tzinfo=UTC)
CONTRACT = parse(
    """
version: 1.0.0
apiVersion: v3.1.0
kind: DataContract
id: trips
schema:
- name: trips
  properties:
  - {name: id, logicalType: integer, primaryKey: true}
  - {name: km, logicalType: number, logicalTypeOptions: {minimum: 0}}
"""
)


def hour(n: int) -> datetime:
    return START + timedelta(hours=n)


def trips(n: int) -> pl.DataFrame:
    """Row i becomes known at hour i."""
    return pl.DataFrame(
        {
            "id": range(n),
            "km": [float(i) for i in range(n)],
            "known_at": [hour(i) for i in range(n)],
        },
        schema_overrides={
            "known_at": pl.Datetime("us", "UTC"),
            "id": pl.Int64,
            "km": pl.Float64,
        },
    )


def stored(backend: LocalBackend, version: DatasetVersion) -> list[int]:
    frame = tables_delta.read(backend.settings, version.dataset, version.delta_version)
    return sorted(frame.collect()["id"].to_list())


def test_only_rows_newly_known_are_appended(backend: LocalBackend) -> None:
    first = ingest(backend, "trips", trips(10), hour(3), CONTRACT)
    second = ingest(backend, "trips", trips(10), hour(5), CONTRACT)
    assert (first.number, first.rows, first.added) == (1, 4, 4)
    assert (second.number, second.rows, second.added) == (2, 6, 2)
    assert stored(backend, first) == [0, 1, 2, 3]
    assert stored(backend, second) == [0, 1, 2, 3, 4, 5]


def test_ingesting_twice_is_one_version(backend: LocalBackend) -> None:
    first = ingest(backend, "trips", trips(10), hour(3), CONTRACT)
    assert ingest(backend, "trips", trips(10), hour(3), CONTRACT) == first
    assert ingest(backend, "trips", trips(4), hour(9), CONTRACT) == first
    assert len(backend.call(ls, ListDatasets(dataset="trips")).datasets) == 1


def test_a_source_may_be_a_function_of_the_time(backend: LocalBackend) -> None:
    def source(now: datetime) -> pl.LazyFrame:
        return trips(10).lazy().filter(pl.col("known_at") <= now)

    assert ingest(backend, "trips", source, hour(1)).rows == 2


def test_failing_rows_are_set_aside_with_their_reasons(backend: LocalBackend) -> None:
    bad = trips(5).with_columns(km=pl.when(pl.col("id") == 2).then(-1.0).otherwise("km"))
    bad = pl.concat([bad, bad.tail(1)])
    version = ingest(backend, "trips", bad, hour(9), CONTRACT)
    report = backend.call(validate, ShowDataset(dataset="trips"))
    assert (version.rows, version.set_aside, report.passed) == (4, 2, False)
    assert stored(backend, version) == [0, 1, 3, 4]
    assert {c.name: c.failing for c in report.checks if not c.passed} == {
        "id is the primary key": 1,
        "km minimum 0": 1,
    }
    kept = open_store(backend.settings).get(report.failing_rows or "")
    assert pl.read_parquet(io.BytesIO(kept)).select("id", REASONS).rows() == [
        (2, ["km minimum 0"]),
        (4, ["id is the primary key"]),
    ]


def test_a_key_that_is_stored_already_is_set_aside(backend: LocalBackend) -> None:
    ingest(backend, "trips", trips(3), hour(2), CONTRACT)
    again = trips(4).with_columns(known_at=pl.lit(hour(5)))
    version = ingest(backend, "trips", again, hour(5), CONTRACT)
    assert (version.rows, version.added, version.set_aside) == (4, 1, 3)
    report = backend.call(show, ShowDataset(dataset="trips")).validation
    assert report.checks[-1].name == "id is not stored already"


def test_a_table_without_known_at_is_a_new_version_only_when_it_changed(
    backend: LocalBackend,
) -> None:
    frame = trips(3).drop("known_at")
    first = ingest(backend, "airports", frame, hour(0))
    assert ingest(backend, "airports", frame, hour(1)) == first
    second = ingest(backend, "airports", frame.head(2), hour(2))
    assert (second.number, second.rows) == (2, 2)
    assert (stored(backend, first), stored(backend, second)) == ([0, 1, 2], [0, 1])


def test_every_version_is_recorded_as_an_event_with_what_failed(
    backend: LocalBackend,
) -> None:
    ingest(
        backend,
        "trips",
        trips(3).with_columns(km=pl.Series([1.0, -1, 1])),
        hour(2),
        CONTRACT,
    )
    with backend.engine.begin() as conn:
        (event,) = since(conn, kind="dataset.")
    assert (event.kind, event.subject) == ("dataset.ingested", "dataset:trips/1")
    assert event.detail["failed"] == {"km minimum 0": 1}


def killed_after_the_delta_commit(backend: LocalBackend, now: datetime) -> None:
    """Do what `ingest` does up to its Delta commit, and no more."""
    before = reconcile(backend, "trips")
    fresh, mark = module._fresh(trips(10).lazy(), before, now, "trips", None)
    assert fresh is not None
    commit, rows = module._prepare(backend, "trips", fresh, before, now, CONTRACT, mark)
    record = msgspec.json.encode(commit).decode()
    tables_delta.append(
        backend.settings, "trips", rows, number=commit.version.number, record=record
    )


@pytest.mark.parametrize("earlier", [0, 2])
def test_a_kill_between_delta_and_database_loses_and_doubles_nothing(
    backend: LocalBackend, earlier: int
) -> None:
    for n in range(earlier):
        ingest(backend, "trips", trips(10), hour(n), CONTRACT)
    killed_after_the_delta_commit(backend, hour(4))
    version = ingest(backend, "trips", trips(10), hour(6), CONTRACT)
    assert version.number == earlier + 2
    assert stored(backend, version) == [0, 1, 2, 3, 4, 5, 6]
    adopted = backend.call(show, ShowDataset(dataset="trips", number=earlier + 1))
    assert (adopted.version.until, adopted.version.rows) == (hour(4), 5)
    assert adopted.validation.id == adopted.version.validation_id
    assert ingest(backend, "trips", trips(10), hour(6), CONTRACT) == version


LOOP = """
import sys
from pathlib import Path
from setpoint.config import settings
from setpoint.data.ingest import ingest
from setpoint.db.local import open_local
sys.path.insert(0, {folder!r})
from tests.data.test_ingest import CONTRACT, hour, trips
backend = open_local(settings({home!r}, actor="ada"))
print("ready", flush=True)
for n in range(40):
    ingest(backend, "trips", trips(40), hour(n), CONTRACT)
    print(n, flush=True)
"""


def test_killed_at_any_moment_the_next_ingest_ends_in_the_same_state(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    root = Path(__file__).parents[2]
    script = textwrap.dedent(LOOP).format(folder=str(root), home=str(home))
    source = str(Path(setpoint.__file__).parents[1])
    for lines in (2, 4, 3, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": source},
        )
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    backend = open_local(
        Settings(home=home, database_url=f"sqlite:///{home / 'setpoint.db'}", actor="ada")
    )
    version = ingest(backend, "trips", trips(40), hour(39), CONTRACT)
    assert stored(backend, version) == list(range(40))
    versions = backend.call(ls, ListDatasets(dataset="trips")).datasets
    assert [v.number for v in versions] == list(range(version.number, 0, -1))
    assert sum(v.added for v in versions) == version.rows == 40
    backend.engine.dispose()


def test_two_at_once_store_every_row_once(backend: LocalBackend) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: ingest(backend, "trips", trips(10), hour(n)), [3, 6, 9, 9]))
    version = ingest(backend, "trips", trips(10), hour(9))
    assert stored(backend, version) == list(range(10))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (trips(0), "no row of 'trips' is known by 2026-01-01 09:00 UTC"),
        (trips(0).drop("known_at"), "the table 'trips' is empty"),
        (
            trips(3).with_columns(id=pl.lit(None, pl.Int64), km=pl.lit(None, pl.Float64)),
            "has only nulls in its 3 rows",
        ),
        (trips(3).with_columns(known_at=pl.lit("now")), "known_at of 'trips' is String"),
        (
            trips(3).with_columns(pl.col("known_at").dt.replace_time_zone(None)),
            "must be a timestamp with time zone",
        ),
        (
            trips(3).with_columns(known_at=pl.lit(None, pl.Datetime("us", "UTC"))),
            "3 rows of 'trips' have no known_at",
        ),
        (trips(3).drop("km"), "column 'km' of the contract is missing"),
        (trips(3).with_columns(km=pl.lit(-1.0)), "none of the 3 rows of 'trips' passes"),
    ],
)
def test_a_bad_table_is_one_clear_error_and_stores_nothing(
    backend: LocalBackend, frame: pl.DataFrame, said: str
) -> None:
    with pytest.raises(Invalid) as caught:
        ingest(backend, "trips", frame, hour(9), CONTRACT)
    assert said in caught.value.message
    with pytest.raises(NotFound):
        tables_delta.read(backend.settings, "trips")


def test_a_column_that_changes_its_type_is_refused(backend: LocalBackend) -> None:
    ingest(backend, "trips", trips(3), hour(2))
    with pytest.raises(Invalid, match="'km' of 'trips' was Float64, now is String"):
        ingest(backend, "trips", trips(9).with_columns(pl.col("km").cast(pl.String)), hour(8))
    with pytest.raises(Invalid, match="new rows of 'trips' lack its column 'km'"):
        ingest(backend, "trips", trips(9).drop("km"), hour(8))


def test_a_new_column_is_null_in_the_rows_before(backend: LocalBackend) -> None:
    ingest(backend, "trips", trips(2), hour(1))
    version = ingest(backend, "trips", trips(3).with_columns(note=pl.lit("new")), hour(2))
    frame = tables_delta.read(backend.settings, "trips", version.delta_version).collect()
    assert sorted(frame["note"].to_list(), key=str) == [None, None, "new"]


def test_types_that_delta_lacks_are_kept_by_value(backend: LocalBackend) -> None:
    frame = pl.DataFrame(
        {
            "small": pl.Series([255], dtype=pl.UInt8),
            "kind": pl.Series(["ü"], dtype=pl.Categorical),
        }
    )
    version = ingest(backend, "odd", frame, hour(0))
    assert tables_delta.read(backend.settings, "odd").collect().rows() == [(255, "ü")]
    assert [c.type for c in version.columns] == ["Int16", "String"]


def test_a_name_that_is_no_folder_is_refused(backend: LocalBackend) -> None:
    with pytest.raises(Invalid, match="no name for a dataset"):
        ingest(backend, "../trips", trips(1), hour(1))
