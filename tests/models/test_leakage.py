"""Leakage: what gives the label away is found, and ordinary data pass."""

import numpy as np
import polars as pl

from setpoint.models.leakage import examine

RNG = np.random.default_rng(6)
N = 2_000
LABEL = (RNG.random(2 * N) < 0.3).astype(np.float64)
HONEST = pl.DataFrame(
    {
        "distance": LABEL + RNG.normal(size=2 * N),
        "gusts": np.where(RNG.random(2 * N) < 0.2, np.nan, RNG.normal(size=2 * N)),
        "carrier": RNG.choice(["AA", "UA"], 2 * N),
        "constant": np.ones(2 * N),
    }
)
TRAIN, TEST = LABEL[:N], LABEL[N:]


def halves(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    return table[:N], table[N:]


def test_honest_data_pass() -> None:
    train, test = halves(HONEST)
    found = examine(train, TRAIN, test, TEST)
    assert found.why == ""
    assert found.strongest == ("", 0.0) or found.strongest[0] == "distance"


def test_a_feature_made_from_the_label_is_named_even_upside_down() -> None:
    train, test = halves(HONEST.with_columns(refund=pl.Series(-LABEL)))
    assert "refund alone tells the label (1.000)" in examine(train, TRAIN, test, TEST).why


def test_a_feature_whose_absence_tells_the_label_is_named() -> None:
    arrival = pl.Series([None if late else 1.0 for late in LABEL])
    train, test = halves(HONEST.with_columns(arrival=arrival))
    assert "arrival alone" in examine(train, TRAIN, test, TEST).why


def test_a_feature_that_is_the_value_of_a_regression_is_named() -> None:
    value = RNG.normal(size=2 * N)
    train, test = halves(HONEST.with_columns(copy=pl.Series(np.exp(value))))
    found = examine(train, value[:N], test, value[N:], kind="regression")
    assert "copy alone" in found.why


def test_rows_on_both_sides_of_the_split_are_counted() -> None:
    train, test = halves(HONEST)
    ids = pl.Series([str(i) for i in range(2 * N)])
    apart = examine(train, TRAIN, test, TEST, train_ids=ids[:N], test_ids=ids[N:])
    shared = examine(train, TRAIN, test, TEST, train_ids=ids[:N], test_ids=ids[N - 3 : -3])
    assert apart.shared_ids == 0
    assert "3 rows are in training and test both" in shared.why


def test_test_rows_copied_from_training_are_found_without_ids() -> None:
    train, _ = halves(HONEST)
    assert "100.0% of test rows repeat a training row" in examine(train, TRAIN, train, TRAIN).why


def test_data_of_few_categories_repeat_themselves_honestly() -> None:
    few = pl.DataFrame({"a": RNG.integers(0, 3, 2 * N), "b": RNG.integers(0, 3, 2 * N)})
    train, test = halves(few)
    found = examine(train, TRAIN, test, TEST)
    assert found.repeated > 0.9
    assert found.why == ""
