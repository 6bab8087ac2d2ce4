"""Durations, percents, rates and sizes survive the way out and back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.control.spec import units
from setpoint.control.spec.units import Amount, BadUnit, Rate

CENTURY = 36_500 * 86_400 * 10**6
MICROS = st.integers(0, CENTURY).map(lambda n: timedelta(microseconds=n))


@given(MICROS)
def test_every_duration_survives_the_way_out_and_back(value: timedelta) -> None:
    assert units.parse_duration(units.format_duration(value)) == value


@given(st.integers(0, 10**12).map(lambda n: n / 10**12))
def test_every_percentage_survives_the_way_out_and_back(value: float) -> None:
    assert units.parse_percent(units.format_percent(value)) == value


@given(st.integers(1, 10**8), MICROS.filter(bool))
def test_every_rate_survives_the_way_out_and_back(count: int, per: timedelta) -> None:
    rate = Rate(count=count, per=per)
    assert units.parse_rate(units.format_rate(rate)) == rate


@given(st.integers(0, 10**12) | MICROS)
def test_every_amount_survives_the_way_out_and_back(value: int | timedelta) -> None:
    amount = Amount(requests=value) if isinstance(value, int) else Amount(time=value)
    assert units.parse_amount(units.format_amount(amount)) == amount


@given(st.integers(0, 10**15))
def test_every_size_survives_the_way_out_and_back(value: int) -> None:
    assert units.parse_size(units.format_size(value)) == value


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for parse in (
        units.parse_duration,
        units.parse_percent,
        units.parse_rate,
        units.parse_amount,
        units.parse_size,
    ):
        refusal = None
        try:
            parse(text)
        except BadUnit as error:
            refusal = error
        assert refusal is None or (refusal.hint and len(refusal.message) < 200)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("2 weeks", 1_209_600), ("1h30m", 5400), ("1.5h", 5400), ("0s", 0)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert units.parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "d", "-3d", "3 dayz", "1h x", "9" * 50 + "d", "1e9d", "40000d", "٣d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadUnit):
        units.parse_duration(text)


def test_months_are_no_durations_and_the_hint_says_so() -> None:
    with pytest.raises(BadUnit) as caught:
        units.parse_duration("2 months")
    assert "30d" in caught.value.hint


def test_a_number_that_was_meant_as_percent_is_caught() -> None:
    with pytest.raises(BadUnit) as caught:
        units.parse_percent(5)
    assert caught.value.hint == "did you mean 5%?"
    assert units.parse_percent("150%", most=10) == 1.5


@pytest.mark.parametrize("text", ["101%", "-1%", "five", "5", "%", ""])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(BadUnit):
        units.parse_percent(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [("1/month", 30), ("3 per day", 1 / 3), ("1/10d", 10), ("2/week", 3.5)],
)
def test_rates_have_a_mean_time_between(text: str, days: float) -> None:
    assert units.parse_rate(text).period.total_seconds() == pytest.approx(days * 86_400)


@pytest.mark.parametrize("text", ["0/month", "1/moth", "month", "1/0s", "x/day", "1/-2d"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(BadUnit):
        units.parse_rate(text)
