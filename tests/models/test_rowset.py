"""Training row ids: found at once, listed as given."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.models import rowset


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.text("abc"))
def test_it_contains_exactly_what_went_in_and_lists_it_in_order(ids: list[str], other: str) -> None:
    data = rowset.encode(ids)
    assert rowset.ids(data).to_list() == ids
    assert rowset.count(data) == len(set(ids))
    assert all(rowset.contains(data, each) for each in ids)
    assert rowset.contains(data, other) == (other in ids)


def test_a_large_one_answers_without_being_read_whole() -> None:
    data = rowset.encode([f"2013-01-01/UA/{i}" for i in range(100_000)])
    assert rowset.count(data) == 100_000
    assert rowset.ids(data)[99_999] == "2013-01-01/UA/99999"
    reads: list[int] = []

    def read(start: int, stop: int) -> bytes:
        reads.append(stop - start)
        return data[start:stop]

    found = [rowset.contains(read, f"2013-01-01/UA/{i}") for i in range(0, 200_000, 1_000)]
    assert found == [True] * 100 + [False] * 100
    assert len(reads) == 2 * len(found)
    assert max(reads) == 65_536


def test_hashes_that_are_not_spread_evenly_are_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = rowset.encode([str(i) for i in range(2_000)])
    monkeypatch.setattr(rowset, "_REACH", 1)
    assert all(rowset.contains(data, str(i)) for i in range(2_000))
    assert not any(rowset.contains(data, str(i)) for i in range(2_000, 4_000))


def test_numbers_are_their_text() -> None:
    assert rowset.contains(rowset.encode(pl.Series([17, 18])), "17")


def test_it_is_compact() -> None:
    ids = [f"2013-01-01/UA/{i}/EWR" for i in range(50_000)]
    assert len(rowset.encode(ids)) < 12 * len(ids)


def test_a_row_without_an_id_is_refused_with_how_many() -> None:
    with pytest.raises(Invalid, match="1 of 3 training rows have no id"):
        rowset.encode(pl.Series(["a", None, "b"]))


def test_other_bytes_are_no_row_set() -> None:
    for wrong in (b"something else entirely, and long enough", b"short"):
        with pytest.raises(Invalid, match="no set of training rows"):
            rowset.contains(wrong, "a")
