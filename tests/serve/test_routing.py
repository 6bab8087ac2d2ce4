from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve.routing import router

KEYS = [f"passenger-{i}" for i in range(20_000)]


@given(st.lists(st.text(max_size=30), max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_raising_the_canary_share_moves_no_row_back_to_live(
    keys: list[str], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    before, after = router("m/2", low)(keys), router("m/2", high)(keys)
    assert all(a >= b for a, b in zip(after, before, strict=True))


@given(st.text(max_size=30), st.floats(0, 1))
def test_a_key_goes_the_same_way_every_time(key: str, weight: float) -> None:
    assert router("m/2", weight)([key, key]) in {b"\0\0", b"\1\1"}


def test_the_share_of_rows_is_the_weight() -> None:
    for weight in (0.01, 0.05, 0.25, 0.5):
        canaries = sum(router("m/2", weight)(KEYS))
        sd = (len(KEYS) * weight * (1 - weight)) ** 0.5
        assert abs(canaries - len(KEYS) * weight) < 5 * sd


def test_every_release_draws_its_canary_group_anew() -> None:
    one, other = router("m/2", 0.5)(KEYS), router("m/3", 0.5)(KEYS)
    same = sum(a == b for a, b in zip(one, other, strict=True))
    assert 0.45 < same / len(KEYS) < 0.55


def test_no_share_is_all_live_and_a_whole_share_all_canary() -> None:
    assert router("m/2", 0.0)(["a", "b"]) == b"\0\0"
    assert router("m/2", 1.0)(["a", "b"]) == b"\1\1"
