"""Waits grow, end, and are never all the same; patterns mean what they say."""

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from setpoint.notify.entities import Outcome
from setpoint.notify.rules import ATTEMPTS, key_of, matches, next_attempt, passing, signature

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(1, ATTEMPTS - 1), st.integers(0, 2**32), st.none() | st.floats(0, 1e9))
def test_a_wait_lies_between_half_and_the_whole_of_its_turn(
    attempts: int, seed: int, after: float | None
) -> None:
    outcome = Outcome(error="away", again=True, after=after)
    at = next_attempt(attempts, outcome, NOW, np.random.default_rng(seed))
    assert at is not None
    whole = min(5 * 2 ** (attempts - 1), 10_800)
    asked = min(after or 0, 10_800)
    tick = timedelta(microseconds=1)
    assert NOW + timedelta(seconds=max(whole / 2, asked)) - tick <= at
    assert at <= NOW + timedelta(seconds=max(whole, asked)) + tick


@given(st.integers(0, 100))
def test_what_cannot_help_or_was_tried_enough_is_given_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert next_attempt(1, Outcome(error="no"), NOW, rng) is None
    assert next_attempt(ATTEMPTS, Outcome(error="away", again=True), NOW, rng) is None


@given(st.text(min_size=1), st.text())
def test_a_pattern_means_itself_or_all_that_begin_so(kind: str, more: str) -> None:
    assert matches(f"{kind}*", kind + more)
    assert matches("*", kind)
    if not kind.endswith("*"):
        assert matches(kind, kind + more) == (not more)


def test_a_signature_is_that_of_the_standard_s_own_example() -> None:
    # https://github.com/standard-webhooks/standard-webhooks, the vector of its libraries
    at = datetime.fromtimestamp(1614265330, UTC)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - public
    made = signature(key_of(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_server_errors_pass_and_refusals_do_not() -> None:
    assert [passing(status) for status in (500, 503, 408, 429)] == [True] * 4
    assert [passing(status) for status in (301, 400, 401, 404, 410)] == [False] * 5
