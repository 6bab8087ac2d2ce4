import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.charts import ticks

_FINITE = st.floats(-1e12, 1e12, allow_nan=False)


@given(_FINITE, _FINITE, st.integers(2, 12))
def test_numbers_are_ordered_distinct_and_inside(a: float, b: float, count: int) -> None:
    low, high = sorted((a, b))
    found = ticks.numbers(low, high, count)
    places = [t.at for t in found]
    assert places == sorted(set(places))
    room = 1e-6 * max(abs(low), abs(high), 1e-300)
    assert all(low - room <= p <= high + room for p in places)
    assert len(found) <= 3 * count + 1


@given(_FINITE, st.floats(1e-3, 1e6))
def test_no_two_ticks_are_written_alike(low: float, span: float) -> None:
    span = max(span, abs(low) * 1e-4)
    found = ticks.numbers(low, low + span, 5)
    assert len({t.text for t in found}) == len(found)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.6, 0.8, ["0.60", "0.65", "0.70", "0.75", "0.80"]),
        (0, 10, ["0.0", "2.5", "5.0", "7.5", "10.0"]),
        (0, 4000, ["0", "1,000", "2,000", "3,000", "4,000"]),
        (0, 40_000, ["0k", "10k", "20k", "30k", "40k"]),
    ],
)
def test_numbers_are_round_and_alike(low: float, high: float, words: list[str]) -> None:
    assert [t.text for t in ticks.numbers(low, high, 4)] == words


def test_a_year_is_labelled_by_month_and_says_its_year_once() -> None:
    start, end = datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 12, 31, tzinfo=UTC)
    found = ticks.times(ticks.seconds(start), ticks.seconds(end), 10)
    assert [t.text for t in found][:3] == ["Mar 2013", "Apr", "May"]
    assert [t.text for t in found][-1] == "Dec"


def test_hours_say_the_day_at_midnight() -> None:
    start = datetime(2013, 3, 1, 18, tzinfo=UTC)
    found = ticks.times(ticks.seconds(start), ticks.seconds(start + timedelta(hours=12)), 5)
    assert "2 Mar" in [t.text for t in found]


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001 - made aware below
    st.floats(1, 1e9),
    st.integers(2, 12),
)
def test_times_are_ordered_and_few(start: datetime, span: float, count: int) -> None:
    low = ticks.seconds(start.replace(tzinfo=UTC))
    found = ticks.times(low, low + span, count)
    places = [t.at for t in found]
    assert places == sorted(set(places))
    assert all(low <= p <= low + span + 1 for p in places)
    assert len(found) <= 2 * count + 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.72141, "0.7214"),
        (12_345, "12.3k"),
        (336_776, "337k"),
        (999_960, "1000k"),
        (-0.5, "\u22120.5"),
        (1234, "1,234"),
        (0.00001, "1.0e\u221205"),
        (0.0, "0"),
        (math.nan, "\u2013"),
        (math.inf, "\u2013"),
    ],
)
def test_numbers_are_written_for_people(value: float, words: str) -> None:
    assert ticks.number(value) == words


@given(st.floats())
def test_any_number_can_be_written(value: float) -> None:
    for written in (ticks.number(value), ticks.percent(value)):
        assert written
        assert "nan" not in written.lower()
        assert "inf" not in written.lower()
