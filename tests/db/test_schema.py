"""Column types: instants and JSON come back as they were, on both databases."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from setpoint.db.local import LocalBackend
from setpoint.db.schema import Instant, Json, encode

table = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", Instant),
    Column("what", Json),
)


def kept(backend: LocalBackend, at: datetime | None = None, what: Any = None) -> Any:
    with backend.engine.connect() as conn:  # never committed: the table is for one test
        table.create(conn)
        conn.execute(insert(table).values(id=1, at=at, what=what))
        return conn.execute(select(table)).one()


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 1, 1, 12, 0, 0, 123456, UTC),
        datetime(1913, 3, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=-5))),
    ],
)
def test_instants_come_back_to_the_microsecond_in_utc(backend: LocalBackend, at: datetime) -> None:
    found = kept(backend, at).at
    assert found == at
    assert found.tzinfo is UTC


def test_naive_times_are_refused(backend: LocalBackend) -> None:
    with pytest.raises(StatementError, match="naive datetime"):
        kept(backend, datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_nulls_stay_nulls(backend: LocalBackend) -> None:
    assert tuple(kept(backend)) == (1, None, None)


@pytest.mark.parametrize(
    ("what", "back"),
    [
        ({"b": 1, "a": [1.5, None]}, {"a": [1.5, None], "b": 1}),
        ({"x": float("nan"), "y": float("inf")}, {"x": None, "y": None}),
        ({"n": np.int64(3), "f": np.float64(0.5)}, {"n": 3, "f": 0.5}),
        ("größe \0 日本", "größe \ufffd 日本"),
    ],
)
def test_json_comes_back_plain(backend: LocalBackend, what: Any, back: Any) -> None:
    assert kept(backend, what=what).what == back


def test_json_is_canonical() -> None:
    assert encode({"b": 1, "a": 2}) == '{"a":2,"b":1}'
    assert msgspec.json.decode(encode({1, 2})) == [1, 2]
