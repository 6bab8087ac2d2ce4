import numpy as np
import polars as pl
import pytest

from setpoint.errors import Invalid
from setpoint.profiles.reference import DAY, HOUR, WEEK, build_reference
from setpoint.profiles.variation import FEWEST, LEAST

RNG = np.random.default_rng(81)
DAYS, ROWS = 42, 200
TIMES = 1_000 * DAY + np.repeat(np.arange(DAYS) * DAY, ROWS)
STEADY = RNG.normal(size=DAYS * ROWS)
DAILY = np.repeat(RNG.normal(size=DAYS), ROWS) + 0.3 * STEADY


def test_columns_vary_as_their_days_do() -> None:
    reference = build_reference({"steady": STEADY, "daily": DAILY}, times=TIMES)
    known = reference.variations[DAY]
    steady, daily = np.exp(known.mean)
    assert known.windows == [DAYS, DAYS]
    assert steady < 0.1
    assert daily > 0.8


def test_a_length_with_too_few_windows_takes_the_next_shorter_one() -> None:
    held_out = slice(0, 14 * ROWS)
    reference = build_reference(
        {"daily": DAILY},
        times=TIMES,
        scores=1 / (1 + np.exp(-DAILY[held_out])),
        score_times=TIMES[held_out],
    )
    weekly = reference.variation(WEEK)
    assert weekly is not None
    assert reference.variations[WEEK].windows[1] == 0  # two weeks are fewer than five
    assert weekly.windows[0] >= FEWEST
    assert weekly.mean[1] == reference.variations[DAY].mean[1]
    hourly = reference.variation(HOUR)
    assert hourly is not None
    assert hourly.mean == reference.variations[DAY].mean


def test_without_times_nothing_is_known() -> None:
    assert build_reference({"x": STEADY}).variation(DAY) is None


def test_lengths_need_not_be_multiples_of_each_other() -> None:
    reference = build_reference({"x": STEADY}, times=TIMES, windows=(DAY, 36 * HOUR))
    assert reference.variations[36 * HOUR].windows[0] > 20


def test_the_order_of_the_rows_and_the_kind_of_times_do_not_matter() -> None:
    order = RNG.permutation(len(DAILY))
    times = pl.from_epoch(pl.Series(TIMES[order]), "s").dt.replace_time_zone("UTC")
    frame = pl.DataFrame({"daily": DAILY[order]})
    found = build_reference(frame, times=times).variations
    expected = build_reference({"daily": DAILY.tolist()}, times=TIMES).variations
    assert found == expected
    stamps = build_reference({"daily": DAILY[order]}, times=times.to_list()).variations
    assert stamps == expected


def test_constant_columns_vary_by_the_least() -> None:
    known = build_reference({"x": np.ones(len(TIMES))}, times=TIMES).variations[DAY]
    assert known.mean[0] == pytest.approx(np.log(LEAST))
    assert known.sd == [0.0]


def test_times_for_other_rows_are_refused() -> None:
    with pytest.raises(Invalid, match="3 times for"):
        build_reference({"x": STEADY}, times=TIMES[:3])


def test_longer_windows_vary_the_same_whether_counted_alone_or_from_shorter_ones() -> None:
    rng = np.random.default_rng(3)
    hours = np.sort(rng.choice(24 * 100, size=4_000))
    rows = {"x": rng.normal(hours // 24 % 7, 1.0), "y": rng.normal(size=4_000)}
    both = build_reference(rows, times=hours * 3600, windows=(DAY, WEEK))
    alone = build_reference(rows, times=hours * 3600, windows=(WEEK,))
    assert both.variation(WEEK) == alone.variation(WEEK)
