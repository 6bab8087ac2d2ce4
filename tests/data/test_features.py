"""The point-in-time join against brute force, and what a mistake in user code says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data.features import build, feature_view, features
from setpoint.errors import Invalid, UserCodeFailed

START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
ROWS: dict[str, Any] = {"key": pl.String, "time": TIME}
FACTS: dict[str, Any] = {"key": pl.String, "known_at": TIME, "value": pl.Int64}


def at(hours: int | None) -> datetime | None:
    return None if hours is None else START + timedelta(hours=hours)


keys = st.sampled_from(["a", "b", None])
hours = st.one_of(st.none(), st.integers(0, 6))


@feature_view(by="key", max_age="2h")
def young(facts: pl.LazyFrame) -> pl.LazyFrame:
    return facts


@feature_view(by=["key"], at="known_at")
def ever(facts: pl.LazyFrame) -> pl.LazyFrame:
    return facts.select("key", "known_at", pl.col("value").alias("any"))


def expected(
    row: tuple[str | None, int | None],
    facts: list[tuple[str | None, int | None, int | None]],
    age: int,
) -> int | None:
    key, time = row
    if key is None or time is None:
        return None
    known = [
        (when, i, value)
        for i, (k, when, value) in enumerate(facts)
        if k == key and when is not None and when <= time
    ]
    if not known:
        return None
    when, _, value = max(known, key=lambda fact: fact[:2])
    return value if time - when <= age else None


@given(
    st.lists(st.tuples(keys, hours), max_size=12),
    st.lists(st.tuples(keys, hours, st.one_of(st.none(), st.integers(0, 99))), max_size=12),
)
def test_every_row_gets_what_was_known_at_its_time_and_nothing_later(
    rows: list[tuple[str | None, int | None]],
    facts: list[tuple[str | None, int | None, int | None]],
) -> None:
    asked = pl.DataFrame([(k, at(t)) for k, t in rows], schema=ROWS, orient="row")
    known = pl.DataFrame([(k, at(t), v) for k, t, v in facts], schema=FACTS, orient="row")
    built = build(asked, [young, ever], {"facts": known}, "time")
    assert built.columns == ["value", "any"]
    assert built["value"].to_list() == [expected(row, facts, 2) for row in rows]
    assert built["any"].to_list() == [expected(row, facts, 99) for row in rows]


@given(st.lists(st.tuples(keys, hours), max_size=12), st.randoms())
def test_the_order_of_rows_is_kept(rows: list[tuple[str | None, int | None]], random: Any) -> None:
    facts = pl.DataFrame(
        [(k, at(t), t) for k in "ab" for t in range(7)], schema=FACTS, orient="row"
    )
    order = list(range(len(rows)))
    random.shuffle(order)
    asked = pl.DataFrame([(k, at(t)) for k, t in rows], schema=ROWS, orient="row")
    straight = build(asked, [young], {"facts": facts}, "time")
    assert build(asked[order], [young], {"facts": facts}, "time").equals(straight[order])


def test_row_features_are_expressions_of_the_row() -> None:
    @features(on="trips")
    def hour(trips: pl.LazyFrame) -> list[pl.Expr]:
        assert "time" in trips.collect_schema()
        return [pl.col("time").dt.hour().alias("hour"), pl.lit(1).alias("one")]

    rows = pl.DataFrame([("a", at(5)), ("b", at(3))], schema=ROWS, orient="row")
    assert build(rows, [hour], {}, "time").rows() == [(5, 1), (3, 1)]


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("x").mean(),
        pl.col("x").shift(-1),
        pl.col("x").cum_sum(),
        pl.col("x").rank(),
        pl.col("x").mean().over("key"),
        pl.col("x").filter(pl.col("x") > 1),
    ],
)
def test_a_row_feature_that_looks_at_other_rows_is_refused(expression: pl.Expr) -> None:
    @features(on="trips")
    def leaky(trips: pl.LazyFrame) -> list[pl.Expr]:
        return [expression]

    rows = pl.DataFrame([("a", at(i)) for i in range(200)], schema=ROWS, orient="row").with_columns(
        x=pl.int_range(200)
    )
    with pytest.raises((Invalid, UserCodeFailed), match="leaky"):
        build(rows, [leaky], {}, "time")


def _raises(facts: pl.LazyFrame) -> pl.LazyFrame:
    msg = "out of coffee"
    raise ValueError(msg)


def _no_such_column(facts: pl.LazyFrame) -> pl.LazyFrame:
    return facts.with_columns(pl.col("valeu") + 1)


def test_an_error_in_a_users_function_says_its_line() -> None:
    rows = pl.DataFrame([("a", at(5))], schema=ROWS, orient="row")
    facts = pl.DataFrame([], schema=FACTS, orient="row")
    line = _raises.__code__.co_firstlineno + 2
    with pytest.raises(UserCodeFailed, match="_raises failed: ValueError: out of coffee") as caught:
        build(rows, [feature_view(by="key")(_raises)], {"facts": facts}, "time")
    assert caught.value.where == f"{__file__}:{line}"
    with pytest.raises(UserCodeFailed, match="valeu") as caught:
        build(rows, [feature_view(by="key")(_no_such_column)], {"facts": facts}, "time")
    assert caught.value.where.startswith(f"{__file__}:")


def _other(wether: pl.LazyFrame) -> pl.LazyFrame:
    return wether


def _number(facts: pl.LazyFrame) -> int:
    return 7


def _without_key(facts: pl.LazyFrame) -> pl.LazyFrame:
    return facts.drop("key")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_other, "'_other' asks for 'wether', which is no source"),
        (_number, "'_number' returned int"),
        (_without_key, "'_without_key' returned no column 'key'"),
    ],
)
def test_a_mistaken_view_is_one_clear_error(function: Callable[..., Any], said: str) -> None:
    rows = pl.DataFrame([("a", at(5))], schema=ROWS, orient="row")
    facts = pl.DataFrame([], schema=FACTS, orient="row")
    with pytest.raises(Invalid) as caught:
        build(rows, [feature_view(by="key")(function)], {"facts": facts}, "time")
    assert said in caught.value.message


def test_rows_without_the_key_or_the_time_are_refused_and_names_must_differ() -> None:
    rows = pl.DataFrame([("a", at(5))], schema=ROWS, orient="row")
    sources = {"facts": pl.DataFrame([], schema=FACTS, orient="row")}
    with pytest.raises(Invalid, match="no time column 'tim'") as caught:
        build(rows, [young], sources, "tim")
    assert caught.value.hint == "did you mean 'time'?"
    with pytest.raises(Invalid, match="by 'key', which the rows do not have"):
        build(rows.drop("key"), [young], sources, "time")
    with pytest.raises(Invalid, match="young and young both give a feature 'value'"):
        build(rows, [young, young], sources, "time")
    with pytest.raises(Invalid, match="is no feature"):
        build(rows, [_other], sources, "time")  # type: ignore[list-item]


@pytest.mark.parametrize("text", ["soon", "3", "3 years", ""])
def test_a_maximal_age_must_be_a_duration(text: str) -> None:
    with pytest.raises(Invalid, match="is no duration"):
        feature_view(by="key", max_age=text)
