"""A policy says in words which versions can be named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.serve.naming import Policy, chosen, read, written

POLICIES = st.builds(
    Policy,
    every=st.booleans(),
    latest=st.integers(0, 99),
    numbers=st.lists(st.integers(1, 99), unique=True, max_size=4).map(tuple),
    aliases=st.lists(st.sampled_from(["champion", "old", "x"]), unique=True, max_size=3).map(tuple),
)


@given(POLICIES, st.sets(st.integers(1, 30)), st.dictionaries(
    st.sampled_from(["champion", "old", "x", "y"]), st.integers(1, 30)
))  # fmt: skip
def test_a_policy_means_the_same_once_it_is_written(
    policy: Policy, known: set[int], aliases: dict[str, int]
) -> None:
    names = chosen(policy, sorted(known), aliases)
    assert chosen(read(written(policy)), sorted(known), aliases) == names
    assert set(names.numbers) <= known
    assert set(names.labels.values()) <= set(names.numbers)
    if policy.every:
        assert set(names.numbers) == known
    assert {n for n in policy.numbers if n in known} <= set(names.numbers)
    assert len(names.numbers) >= min(policy.latest, len(known))


@pytest.mark.parametrize("text", ["latest two", "0", "-1", "a b", "champion!", "latest 0"])
def test_words_that_name_no_versions_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="names no versions"):
        read(text)


def test_nothing_means_nothing() -> None:
    assert chosen(read(""), [1, 2], {"champion": 1}).numbers == ()
    assert written(read(" latest  2 , 4,4, champion")) == "latest 2, 4, champion"
