from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.profiles.columns import Grid
from setpoint.profiles.profile import Profile, decode, profile
from setpoint.profiles.reference import Reference, build_reference, decode_reference

RNG = np.random.default_rng(7)
CITIES = ["EWR", "JFK", "LGA"]


def rows(n: int, rng: np.random.Generator = RNG) -> dict[str, Any]:
    return {
        "delay": rng.lognormal(3, 1, n),
        "temp": rng.normal(50, 15, n),
        "hour": rng.integers(0, 24, n),
        "origin": rng.choice(CITIES, n).tolist(),
    }


REFERENCE = build_reference(rows(5_000), scores=RNG.beta(2, 5, 2_000))

numbers = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**400), 10**400),
    st.booleans(),
    st.text(max_size=3),
)
texts = st.one_of(st.none(), st.sampled_from([*CITIES, "SFO", ""]), st.binary(max_size=2))
batches = st.integers(0, 30).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "delay": st.lists(numbers, min_size=n, max_size=n),
            "temp": st.lists(st.floats(), min_size=n, max_size=n),
            "hour": st.lists(st.integers(0, 30), min_size=n, max_size=n),
            "origin": st.lists(texts, min_size=n, max_size=n),
        }
    )
)


def same(a: Profile, b: Profile) -> None:
    assert a.rows == b.rows
    assert (a.counts == b.counts).all()
    np.testing.assert_allclose(a.moments[[0, 3, 4]], b.moments[[0, 3, 4]])


@settings(deadline=None, max_examples=60)
@given(batches, batches)
def test_the_profile_of_all_rows_is_the_sum_of_its_parts_in_any_order(
    a: dict[str, list[Any]], b: dict[str, list[Any]]
) -> None:
    one, two = profile(a, REFERENCE), profile(b, REFERENCE)
    whole = profile({name: a[name] + b[name] for name in a}, REFERENCE)
    same(whole, one + two)
    same(one + two, two + one)
    assert ((one + two) - two).counts.tolist() == one.counts.tolist()
    assert whole.rows == len(a["hour"]) + len(b["hour"])
    for column in REFERENCE.columns[:-1]:
        assert REFERENCE.part(whole, column.name).sum() == whole.rows


@settings(deadline=None, max_examples=60)
@given(batches)
def test_a_profile_survives_being_stored(batch: dict[str, list[Any]]) -> None:
    before = profile(batch, REFERENCE)
    after = decode(before.encode())
    same(after, before)
    assert after.hitters == before.hitters
    np.testing.assert_array_equal(after.tails, before.tails)


def brute(value: Any, cuts: np.ndarray[Any, Any], size: int) -> int:
    """Return the bin of one value by the definition."""
    if value is None:
        return size - 2
    if isinstance(value, str):
        return size - 1
    if np.isnan(value):
        return len(cuts)
    return sum(bool(c <= value) for c in cuts)


def test_values_are_counted_where_the_definition_says() -> None:
    odd = [None, "x", float("nan"), float("inf"), -float("inf"), -1e308, 1e308, 0, 3.5]
    values = odd + REFERENCE.columns[0].cuts.tolist() + rows(50)["delay"].tolist()  # type: ignore[union-attr]
    found = profile({"delay": values}, REFERENCE)
    column = REFERENCE.columns[0]
    assert column.cuts is not None
    expected = np.zeros(column.size, dtype=int)
    for value in values:
        expected[brute(value, column.cuts, column.size)] += 1
    assert REFERENCE.part(found, "delay").tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["normal", "lognormal", "cauchy", "integers", "constant"])
def test_many_rows_are_binned_as_few_are(kind: str) -> None:
    rng = np.random.default_rng(3)
    draws: dict[str, Callable[[int], Any]] = {
        "normal": lambda n: rng.normal(size=n),
        "lognormal": lambda n: rng.lognormal(0, 3, n),
        "cauchy": lambda n: rng.standard_cauchy(n),  # noqa: PLW0108  the others are lambdas
        "integers": lambda n: rng.integers(-5, 5, n).astype(float),
        "constant": lambda n: np.full(n, 4.25),
    }
    draw = draws[kind]
    reference = build_reference({"x": draw(20_000)})
    values = np.concatenate([draw(9_990), [np.nan, np.inf, -np.inf, 1e300, -1e300]])
    many = profile({"x": values}, reference)
    parts = [profile({"x": part}, reference) for part in np.array_split(values, 20)]
    few = sum(parts[1:], parts[0])
    assert many.counts.tolist() == few.counts.tolist()
    finite = values[np.isfinite(values) & (abs(values) < 1e299)]
    small = profile({"x": finite}, reference)
    count, mean, m2, least, most = small.moments[:, 0].tolist()
    assert (count, least, most) == (len(finite), finite.min(), finite.max())
    assert mean == pytest.approx(finite.mean())
    assert m2 == pytest.approx(((finite - finite.mean()) ** 2).sum(), rel=1e-9)


def test_the_grid_finds_what_a_search_finds_at_every_cut() -> None:
    rng = np.random.default_rng(5)
    column = build_reference({"x": rng.gamma(0.5, size=30_000)}).columns[0]
    assert column.cuts is not None
    grid = Grid(column.cuts)
    assert grid.useful
    inner = column.cuts[:-2]
    around = np.concatenate([inner, np.nextafter(inner, 1e9), np.nextafter(inner[1:], -1e9)])
    assert (grid.lookup(around) == column.cuts.searchsorted(around, side="right")).all()


def test_moments_merge_and_unmerge() -> None:
    rng = np.random.default_rng(6)
    a, b = rows(1_000, rng), rows(37, rng)
    whole = profile({k: np.concatenate([a[k], b[k]]) for k in a}, REFERENCE)
    one, two = profile(a, REFERENCE), profile(b, REFERENCE)
    np.testing.assert_allclose((one + two).moments, whole.moments, rtol=1e-12)
    np.testing.assert_allclose((whole - two).moments[:3], one.moments[:3], rtol=1e-9)


def test_erasing_rows_that_were_never_there_is_refused() -> None:
    with pytest.raises(Invalid, match="never part of this profile"):
        profile(rows(3), REFERENCE) - profile(rows(300), REFERENCE)


def test_profiles_of_other_edges_do_not_add() -> None:
    other = build_reference(rows(500))
    with pytest.raises(Invalid, match="can't be combined"):
        profile(rows(5), REFERENCE) + profile(rows(5), other)


def test_columns_of_unequal_length_are_refused_by_name() -> None:
    with pytest.raises(Invalid, match="differ in length") as caught:
        profile({"delay": [1.0], "temp": [1.0, 2.0]}, REFERENCE)
    assert "temp: 2" in caught.value.where


def test_polars_and_arrays_give_the_same_profile() -> None:
    batch = rows(3_000)
    frame = pl.DataFrame(batch)
    same(profile(frame, REFERENCE), profile(batch, REFERENCE))
    assert build_reference(frame).id == build_reference(batch).id


def test_polars_nulls_times_and_decimals_are_read() -> None:
    frame = pl.DataFrame(
        {
            "delay": pl.Series([1.5, None, float("nan")]),
            "temp": pl.Series(["1.5", "2", None]).cast(pl.Decimal(10, 2)),
            "hour": pl.Series([True, None, False]),
            "origin": pl.Series(["JFK", None, "SFO"]).cast(pl.Categorical),
        }
    )
    found = profile(frame, REFERENCE)
    missing = {
        c.name: int(REFERENCE.part(found, c.name)[c.missing].sum()) for c in REFERENCE.columns[:-1]
    }
    assert missing == {"delay": 2, "temp": 1, "hour": 1, "origin": 1}
    assert found.hitters == {"origin": {"SFO": 1}}
    when = pl.Series("at", [0, 1_000_000]).cast(pl.Datetime("us", "UTC"))
    assert build_reference({"at": when}).columns[0].ends == (0.0, 1_000_000.0)
    assert build_reference({"at": when.dt.cast_time_unit("ms")}).columns[0].ends == (
        0.0,
        1_000_000.0,
    )


def test_a_column_that_is_not_there_counts_as_missing_in_every_row() -> None:
    batch = rows(40)
    del batch["temp"]
    found = profile(batch, REFERENCE)
    column = REFERENCE.columns[REFERENCE.by_name["temp"]]
    assert REFERENCE.part(found, "temp")[column.missing].sum() == 40


@pytest.mark.parametrize(
    "values", [[], [None, None], [np.nan] * 3, [1.0], [np.inf, -np.inf], [1e308, -1e308]]
)
def test_a_reference_is_built_from_whatever_is_there(values: list[Any]) -> None:
    reference = build_reference({"x": values})
    found = profile({"x": [*values, 7.0]}, reference)
    assert found.counts.sum() == len(values) + 1
    assert decode_reference(reference.encode()).id == reference.id


def test_other_and_unseen_categories_are_told_apart() -> None:
    names = [f"tail-{i:04}" for i in range(400)]
    values = [name for i, name in enumerate(names) for _ in range(400 - i)]
    reference = build_reference({"tail": values})
    found = profile({"tail": [names[0], names[399], "tail-new", b"tail-0000"]}, reference)
    top, (other, unseen, null, invalid) = 256, reference.part(found, "tail")[-4:].tolist()
    assert reference.part(found, "tail")[:top].sum() == 2
    assert (other, unseen, null, invalid) == (1, 1, 0, 0)


def test_deciles_are_unions_of_bins() -> None:
    reference = build_reference({"x": np.random.default_rng(8).normal(size=80_000)})
    grouped = reference.grouped[0]
    assert grouped[:2].tolist() == [0, 0]
    assert grouped[2:].tolist() == [8_000] * 10


def test_fifty_columns_of_a_busy_window_take_at_most_fifteen_kilobytes() -> None:
    rng = np.random.default_rng(9)
    reference = build_reference({f"x{i}": rng.normal(size=20_000) for i in range(50)})
    busy = profile({f"x{i}": rng.normal(size=100_000) for i in range(50)}, reference)
    assert len(busy.encode()) < 15_000
    quiet = profile({f"x{i}": rng.normal(size=40) for i in range(50)}, reference)
    assert len(quiet.encode()) < 8_000


def test_a_reference_survives_being_stored() -> None:
    times = np.arange(5_000) * 600
    before = build_reference(
        rows(5_000),
        scores=RNG.beta(2, 5, 300),
        labels=RNG.integers(0, 2, 300),
        times=times,
        score_times=np.arange(300) * 7200,
    )
    after: Reference = decode_reference(before.encode())
    assert after.id == before.id
    assert after.variations == before.variations
    assert len(after.variations[86_400].windows) == len(after.columns) == 5
    assert before.joint is not None
    assert after.joint is not None
    assert (after.joint.counts == before.joint.counts).all()
    assert (after.grouped == before.grouped).all()


@pytest.mark.parametrize("data", [b"", b"\x00", b"nonsense"])
def test_bytes_that_are_no_profile_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        decode(data)
    with pytest.raises(Invalid):
        decode_reference(data)


def test_of_unknown_columns_nothing_is_counted_whatever_the_batch_has() -> None:
    batch = rows(40)
    found = profile(batch, REFERENCE, unknown=frozenset({"temp", "origin"}))
    whole = profile(batch, REFERENCE)
    for name in ("temp", "origin"):
        assert REFERENCE.part(found, name).sum() == 0
    for name in ("delay", "hour"):
        assert (REFERENCE.part(found, name) == REFERENCE.part(whole, name)).all()
    assert found.rows == 40
    assert (found + whole).rows == 80
