"""Which predictions are logged: an even share, told by the id alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from setpoint.serve.routing import router
from setpoint.serve.sampling import is_sampled, sampler

MANY = [f"order-{i}" for i in range(20_000)]


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_a_smaller_one_keeps(name: str, one: float, two: float) -> None:
    small, large = sorted((one, two))
    assert is_sampled(name, large) or not is_sampled(name, small)


@given(st.lists(st.text(), max_size=20), st.floats(0, 1, exclude_max=True))
def test_an_id_decides_alone_whatever_it_is_asked_with(names: list[str], share: float) -> None:
    found = [names[i] for i in sampler(share)(names)]
    assert found == [name for name in names if is_sampled(name, share)]


def test_all_are_kept_of_all_and_none_of_nothing() -> None:
    assert sampler(1.0)(MANY) == list(range(len(MANY)))
    assert sampler(0.0)(MANY) == []


def test_the_share_of_ids_in_a_row_is_the_declared_one() -> None:
    for share in (0.01, 0.1, 0.5, 0.9):
        low, high = binom.interval(0.999, len(MANY), share)
        assert low <= len(sampler(share)(MANY)) <= high


def test_what_is_logged_does_not_depend_on_who_answers() -> None:
    logged = set(sampler(0.3)(MANY))
    arms = router("m/2", 0.3)(MANY)
    both = sum(arms[i] for i in logged)
    low, high = binom.interval(0.999, len(logged), np.mean(list(arms)))
    assert low <= both <= high
