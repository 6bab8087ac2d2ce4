from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from setpoint.core.clock import (
    FileClock,
    ManualClock,
    SystemClock,
    clock_of,
    from_micros,
    to_micros,
)
from setpoint.core.ids import new_id

START = datetime(2013, 3, 1, tzinfo=UTC)


@given(at=st.datetimes(timezones=st.just(UTC)))
def test_microseconds_lose_nothing(at: datetime) -> None:
    assert from_micros(to_micros(at)) == at


def test_microseconds_do_not_depend_on_the_zone() -> None:
    there = timezone(timedelta(hours=-5))
    assert to_micros(START.astimezone(there)) == to_micros(START)


def test_a_shared_clock_is_seen_by_all_and_outlives_them(tmp_path: Path) -> None:
    first = FileClock(tmp_path / "clock", start=START)
    second = clock_of(tmp_path)
    first.set(START + timedelta(hours=1))
    assert second.now() == START + timedelta(hours=1)
    assert FileClock(tmp_path / "clock").now() == START + timedelta(hours=1)


def test_a_store_without_a_clock_of_its_own_has_the_systems(tmp_path: Path) -> None:
    assert isinstance(clock_of(tmp_path), SystemClock)


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(START)
    clock.advance(timedelta(days=1))
    assert clock.now() == START + timedelta(days=1)


def test_ids_made_later_sort_later() -> None:
    ids = [new_id("run", START + timedelta(milliseconds=i)) for i in range(100)]
    assert ids == sorted(ids)
    assert len({new_id("run", START) for _ in range(1000)}) == 1000
