from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import NOON

from setpoint.core.clock import ManualClock, SystemClock, to_micros
from setpoint.core.ids import new_id
from setpoint.serve.ids import maker, micros_of

MICROS = st.integers(0, 2**47)


@given(MICROS, MICROS)
def test_later_ids_compare_greater(one: int, other: int) -> None:
    make = maker("prd")
    early, late = sorted((one, other))
    if early // 1000 != late // 1000:
        assert make(early) < make(late)


def test_ids_look_like_those_made_elsewhere() -> None:
    made, usual = maker("prd")(to_micros(NOON)), new_id("prd", NOON)
    assert len(made) == len(usual)
    assert made[:14] == usual[:14]
    assert set(made[4:]) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_ids_are_unique() -> None:
    make = maker("prd")
    assert len({make(5) for _ in range(5_000)}) == 5_000


def test_time_is_the_clocks() -> None:
    assert micros_of(ManualClock(NOON))() == to_micros(NOON)
    before = to_micros(SystemClock().now())
    assert before - 1 <= micros_of(SystemClock())() <= to_micros(SystemClock().now())
