import pytest

from setpoint.serve.jobs.pace import MOST_ROWS, SHARE, Pace


def run(seconds_a_call: float, seconds_a_row: float, calls: int = 40) -> Pace:
    pace = Pace()
    for _ in range(calls):
        pace.took(pace.rows, seconds_a_call + seconds_a_row * pace.rows)
    return pace


def test_a_quick_model_is_given_many_rows() -> None:
    assert run(0.0, 1e-6).rows == MOST_ROWS


def test_a_call_takes_no_longer_than_others_would_notice() -> None:
    for seconds_a_row in (0.001, 0.003, 0.01):
        assert run(0.0, seconds_a_row).rows * seconds_a_row <= 0.05


def test_a_model_that_is_slow_for_one_row_is_given_one_or_two() -> None:
    assert run(0.0, 3.0).rows <= 2


def test_a_model_whose_calls_are_slow_however_few_the_rows_is_given_many() -> None:
    assert run(0.5, 0.000_1).rows >= 1_024


def test_where_others_never_stop_a_call_has_its_share_of_the_time() -> None:
    for seconds in (0.001, 0.05, 2.0):
        pace = run(seconds, 0.0, calls=1)
        assert seconds / (seconds + pace.patience) == pytest.approx(SHARE)
