import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from setpoint.profiles.distances import distances
from setpoint.profiles.profile import profile
from setpoint.profiles.reference import build_reference

RNG = np.random.default_rng(21)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_distances_are_close_to_the_exact_ones(kind: str, shift: float) -> None:
    before = getattr(RNG, kind)(size=40_000)
    after = getattr(RNG, kind)(size=40_000) + shift
    reference = build_reference({"x": before})
    (found,) = distances(reference, profile({"x": after}, reference))
    assert found.ks == pytest.approx(ks_2samp(before, after).statistic, abs=0.013)
    exact = wasserstein_distance(before, after) / before.std()
    assert found.wasserstein == pytest.approx(exact, abs=0.01)
    edges = np.quantile(before, np.linspace(0, 1, 65))
    edges[0], edges[-1] = -np.inf, np.inf
    p, q = (np.histogram(x, edges)[0] / len(x) for x in (before, after))
    assert found.js == pytest.approx(jensenshannon(p, q), abs=0.02)
    deciles = np.quantile(before, np.linspace(0, 1, 11))
    deciles[0], deciles[-1] = -np.inf, np.inf
    p, q = (np.maximum(np.histogram(x, deciles)[0], 0.5) / len(x) for x in (before, after))
    assert found.psi == pytest.approx(float(((q - p) * np.log(q / p)).sum()), abs=0.005)


def test_the_effect_is_about_the_mean_shift_in_standard_deviations() -> None:
    reference = build_reference({"x": RNG.normal(size=50_000)})
    for shift in (0.0, 0.1, 0.2):
        values = RNG.normal(shift, 1, 50_000)
        (found,) = distances(reference, profile({"x": values}, reference))
        assert found.effect == pytest.approx(shift, abs=0.02)


def test_missing_values_are_a_difference() -> None:
    reference = build_reference({"x": RNG.normal(size=5_000)})
    values = RNG.normal(size=5_000)
    values[:300] = np.nan
    (found,) = distances(reference, profile({"x": values}, reference))
    assert found.missing == 0.06
    assert found.missing_before == 0
    assert found.effect > 0.5
    assert found.psi > 0.1


def test_values_far_outside_move_the_wasserstein_distance_by_their_distance() -> None:
    before = RNG.normal(size=20_000)
    reference = build_reference({"x": before})
    after = RNG.normal(size=20_000)
    after[:200] = 5_000.0
    (found,) = distances(reference, profile({"x": after}, reference))
    assert found.wasserstein == pytest.approx(50, rel=0.05)
