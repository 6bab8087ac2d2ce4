"""Calibration: chance is not counted, overconfidence is."""

import math

import numpy as np
import pytest

from setpoint.models.calibration import calibration_error


@pytest.mark.parametrize("n", [200, 2_000, 20_000])
def test_a_calibrated_model_has_almost_no_error_at_any_size(n: int) -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(200):
        score = rng.beta(2, 6, n)
        label = (rng.random(n) < score).astype(np.float64)
        found.append(calibration_error(label, score, confidence=0.95))
    noise = math.sqrt(0.19 / (n / min(15, n // 100)))
    assert np.mean([each.value for each in found]) < 0.4 * noise
    assert np.mean([each.low > 0 for each in found]) < 0.07


def test_the_error_is_how_far_probabilities_are_from_frequencies() -> None:
    rng = np.random.default_rng(5)
    share = rng.beta(2, 6, 50_000)
    label = (rng.random(share.size) < share).astype(np.float64)
    found = calibration_error(label, np.minimum(share + 0.1, 1), confidence=0.95)
    assert found.value == pytest.approx(0.1, abs=0.005)
    assert found.low < 0.1 < found.high


def test_no_rows_have_no_calibration() -> None:
    assert not calibration_error(np.empty(0), np.empty(0), confidence=0.9).defined


def test_one_constant_score_is_one_gap() -> None:
    label = np.array([0.0, 1.0] * 50)
    found = calibration_error(label, np.full(100, 0.9), confidence=0.95)
    assert found.value == pytest.approx(0.4, abs=0.01)
