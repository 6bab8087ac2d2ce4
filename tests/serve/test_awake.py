"""When the event loop waits awake: for one client that comes back at once, and for no longer."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve.awake import AWAKE_NANOS, LEAST_TRUST, SOON_NANOS, Awake
from setpoint.serve.yielding import hurry

LOOK_NANOS = 3_000


class Loop:
    """An event loop that looks at its sockets every 3 µs while it is kept awake."""

    def __init__(self, processors: int = 2) -> None:
        self.now = 0
        self.looked = 0
        self.ready: list[Callable[[], None]] = []
        self.awake = Awake(lambda: self.now, processors)

    def exchange(self, client: int, nanos: int) -> int:
        """Answer a request that comes so long after the last answer; return how long it waited
        awake for it.
        """
        due, began = self.now + nanos, self.now
        while self.ready and self.now < due:
            self.now += LOOK_NANOS
            for _ in range(len(self.ready)):
                self.ready.pop(0)()
        awake = min(self.now, due) - began
        self.now = max(self.now, due)
        self.awake.came(client)
        self.awake.answered(self.ready.append)
        return awake


def trusted(loop: Loop, client: int = 1) -> None:
    for _ in range(LEAST_TRUST + 1):
        loop.exchange(client, 20_000)


def test_a_client_that_comes_back_at_once_is_waited_for() -> None:
    loop = Loop()
    assert [loop.exchange(1, 20_000) for _ in range(LEAST_TRUST + 1)] == [0] * (LEAST_TRUST + 1)
    assert all(loop.exchange(1, 20_000) for _ in range(100))


def test_it_is_not_waited_for_longer_than_said() -> None:
    loop = Loop()
    trusted(loop)
    assert 0 < loop.exchange(1, 1_000_000) <= AWAKE_NANOS + LOOK_NANOS
    assert not loop.ready


def test_two_clients_in_turn_are_not_waited_for() -> None:
    loop = Loop()
    trusted(loop)
    loop.exchange(2, 20_000)
    waited = sum(loop.exchange(1 + number % 2, 5_000) for number in range(100))
    assert waited <= LOOK_NANOS  # the look that had been asked for already


@pytest.mark.parametrize("nanos", [SOON_NANOS, 10 * SOON_NANOS])
def test_a_client_that_takes_its_time_is_not_waited_for(nanos: int) -> None:
    loop = Loop()
    assert not sum(loop.exchange(1, nanos) for _ in range(100))


def test_who_comes_just_too_late_costs_little() -> None:
    loop = Loop()
    waited = sum(loop.exchange(1, AWAKE_NANOS + 10_000) for _ in range(1_000))
    assert waited < 1_000 * AWAKE_NANOS / 4


def test_nobody_is_waited_for_where_the_client_has_no_processor() -> None:
    loop = Loop(processors=1)
    assert not sum(loop.exchange(1, 20_000) for _ in range(100))


def test_nobody_is_waited_for_while_another_thread_wants_to_run() -> None:
    loop = Loop()
    trusted(loop)
    hurry("fast", wanted=True)
    try:
        loop.exchange(1, 20_000)
        assert loop.exchange(1, 20_000) <= LOOK_NANOS
        assert not loop.exchange(1, 20_000)
    finally:
        hurry("fast", wanted=False)
    loop.exchange(1, 20_000)
    assert loop.exchange(1, 20_000)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 300_000)), max_size=200))
def test_whatever_comes_the_loop_is_awake_for_so_long_after_an_answer_and_no_longer(
    story: list[tuple[int, int]],
) -> None:
    loop = Loop()
    for client, nanos in story:
        assert loop.exchange(client, nanos) <= AWAKE_NANOS + LOOK_NANOS
        assert len(loop.ready) <= 1
    loop.exchange(9, 1_000_000)
    assert not loop.ready
