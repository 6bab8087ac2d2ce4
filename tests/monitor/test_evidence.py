import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.monitor.evidence import log_e, shares, shiryaev_roberts, threshold


def test_an_e_value_is_at_most_one_on_average_if_nothing_changed() -> None:
    p = (np.arange(2_000_000) + 0.5) / 2_000_000
    assert 0.9 < np.exp(log_e(p)).mean() <= 1.0


def test_known_e_values() -> None:
    found = np.exp(log_e(np.array([1.0, 0.5, 0.1, 0.01, 0.001])))
    assert found.tolist() == pytest.approx([0.5, 0.6387, 1.2634, 4.4508, 20.8], rel=2e-3)


@given(st.floats(0, 1), st.floats(0, 1))
def test_less_likely_is_more_evidence(a: float, b: float) -> None:
    low, high = sorted((a, b))
    first, second = log_e(np.array([low, high])).tolist()
    assert first >= second - 1e-9


def test_false_alarms_come_no_sooner_than_the_threshold_says() -> None:
    rng = np.random.default_rng(31)
    level, streams, windows = 50.0, 2_000, 200
    log_r = np.full(streams, -np.inf)
    first = np.full(streams, windows)
    for at in range(windows):
        log_r = shiryaev_roberts(log_r, log_e(rng.random(streams)))
        first = np.where((log_r >= np.log(level)) & (first == windows), at + 1, first)
    mean = first.mean()  # cut off at 200, so an underestimate
    assert mean - 3 * first.std() / np.sqrt(streams) > level


def test_the_threshold_is_windows_per_false_alarm() -> None:
    month = 30 * 86_400
    assert threshold(every=month, window=3_600) == 720
    assert threshold(every=month, window=86_400, share=0.5) == 60
    with pytest.raises(Invalid, match="share"):
        threshold(every=month, window=3_600, share=0)


def test_shares_add_up_to_one_even_where_evidence_overflows() -> None:
    found = shares(np.array([690.0, 690.0, -np.inf, 0.0]), np.array([0.25] * 4))
    assert found.sum() == pytest.approx(1)
    assert found[:2].tolist() == [0.5, 0.5]
