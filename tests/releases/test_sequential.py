import math
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom

from setpoint.releases.evidence import GuardTally, PairedLoss
from setpoint.releases.sequential import (
    CONCENTRATION,
    half_width,
    log_e,
    log_e_fine,
    log_e_mean,
    log_e_often,
    log_e_rare,
    log_e_worse,
    mean_bounds,
    mean_sequence,
    ratio_sequence,
    share_of,
)

thetas = st.floats(0.005, 0.995)


def tally(canary_events: int, stable_events: int, weight: float = 0.05) -> GuardTally:
    return GuardTally(
        weight=weight,
        canary_events=canary_events,
        total_events=canary_events + stable_events,
        canary_requests=canary_events + 1000,
        requests=canary_events + stable_events + 20_000,
    )


def test_nothing_seen_is_worth_nothing() -> None:
    assert log_e(0, 0, 0.06) == pytest.approx(0.0)


@pytest.mark.parametrize(("k", "n", "theta"), [(9, 40, 0.06), (0, 12, 0.3), (5, 5, 0.5)])
def test_it_is_the_truncated_mixture_of_likelihood_ratios(k: int, n: int, theta: float) -> None:
    prior = beta(CONCENTRATION * theta, CONCENTRATION * (1 - theta))

    def integrand(p: float) -> float:
        ratio = (p / theta) ** k * ((1 - p) / (1 - theta)) ** (n - k)
        return float(prior.pdf(p) * ratio / prior.sf(theta))

    assert math.exp(log_e(k, n, theta)) == pytest.approx(quad(integrand, theta, 1)[0], rel=1e-5)


@pytest.mark.parametrize("theta", [0.02, 0.06, 0.3, 0.7])
@pytest.mark.parametrize("below", [0.25, 0.8, 1.0])
def test_whatever_the_truth_under_the_hypothesis_it_expects_at_most_one(
    theta: float, below: float
) -> None:
    # All 2**14 courses of 14 events, by their number of canary events.
    n, truth = 14, theta * below
    k = np.arange(n + 1)
    chances = np.array([math.comb(n, i) for i in k]) * truth**k * (1 - truth) ** (n - k)
    expected = float(chances @ np.exp(log_e(k, n, theta)))
    assert expected <= 1 + 1e-9
    if below == 1.0:
        assert expected == pytest.approx(1.0)  # a fair wager exactly on the edge


@pytest.mark.parametrize("theta", [0.06, 0.3])
def test_it_is_fair_at_every_step_and_not_only_on_average(theta: float) -> None:
    for n, k in product(range(12), range(12)):
        if k <= n:
            up, down = (
                math.exp(log_e(k + 1, n + 1, theta)),
                math.exp(log_e(k, n + 1, theta)),
            )
            now = math.exp(log_e(k, n, theta))
            assert theta * up + (1 - theta) * down == pytest.approx(now)


@given(k=st.integers(0, 400), rest=st.integers(0, 400), theta=thetas)
def test_an_event_of_the_canary_never_lowers_it(k: int, rest: int, theta: float) -> None:
    n = k + rest
    assert log_e(k + 1, n + 1, theta) >= log_e(k, n, theta) - 1e-9
    assert log_e(k, n + 1, theta) <= log_e(k, n, theta) + 1e-9


def test_a_hopeless_count_is_very_negative_and_still_a_number() -> None:
    far = log_e(np.array([0, 10, 100]), 200_000, 0.06)
    assert np.isfinite(far).all()
    assert (np.diff(far) > 0).all()
    # Almost all of the mixture lies far above the truth; what is left is its edge.
    assert -20 < far[0] < -5


def test_it_goes_on_smoothly_where_the_tail_underflows() -> None:
    # Around the count from which P(Beta > theta) is no longer a double.
    n = np.arange(200, 12_000, 7)
    for theta in (0.06, 0.3, 0.8):
        steps = np.diff(log_e(3, n, theta))
        assert (steps < 0).all()
        assert (np.diff(steps) > -1e-9).all()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_one_arm_alone_shows_nothing(weight: float) -> None:
    assert log_e_worse([tally(50, 0, weight)], 1.25) == 0.0
    assert log_e_fine([tally(0, 50, weight)], 1.25) == 0.0


def test_stages_multiply() -> None:
    first, second = tally(4, 30), tally(9, 20, 0.25)
    assert log_e_worse([first, second], 1.25) == pytest.approx(
        log_e_worse([first], 1.25) + log_e_worse([second], 1.25)
    )


def test_the_share_of_events_is_that_of_the_rates() -> None:
    assert share_of(0.05, 1.25) == pytest.approx(0.05 * 1.25 / (0.05 * 1.25 + 0.95))
    assert share_of(0.3, 1.0) == pytest.approx(0.3)


@given(k=st.integers(0, 60), rest=st.integers(0, 600))
def test_the_ends_of_the_ratio_are_where_the_wagers_are_won(k: int, rest: int) -> None:
    tallies, alpha = [tally(k, rest)], 0.01
    low, high = ratio_sequence(tallies, alpha)
    bar = math.log(1 / alpha)
    if low is not None:
        assert log_e_worse(tallies, low * 0.999) >= bar > log_e_worse(tallies, low * 1.001)
    if high is not None:
        assert log_e_fine(tallies, high * 1.001) >= bar > log_e_fine(tallies, high * 0.999)
    if low is not None and high is not None:
        assert low < high


def test_the_ratio_is_unbounded_where_nothing_was_seen() -> None:
    assert ratio_sequence([], 0.01) == (None, None)


@pytest.mark.parametrize(("failures", "proven"), [(0, True), (5, False)])
def test_five_hundred_clean_requests_prove_a_rate_below_one_percent(
    failures: int, *, proven: bool
) -> None:
    assert (log_e_rare(failures, 600, 0.01) >= math.log(20)) is proven


def test_a_mean_of_one_row_is_not_judged() -> None:
    assert mean_sequence(PairedLoss(n=1, mean=3.0), 0.05, tightest_at=1000) == (None, None)


def test_the_interval_is_that_of_the_paper() -> None:
    alpha, t, best = 0.05, 400, 1000
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / best
    reach = math.sqrt(
        2 * (t * rho2 + 1) / (t**2 * rho2) * math.log(math.sqrt(t * rho2 + 1) / alpha)
    )
    low, high = mean_sequence(PairedLoss(n=t, mean=0.1, m2=4.0 * 399), alpha, tightest_at=best)
    assert (low, high) == pytest.approx((0.1 - 2 * reach, 0.1 + 2 * reach))


def test_the_interval_is_tightest_for_its_level_near_the_chosen_count() -> None:
    at = [half_width(1000, 0.05, tightest_at=best) for best in (100, 1000, 10_000)]
    assert at[1] == min(at)


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.3])
def test_a_canary_at_its_ceiling_is_seldom_taken_to_be_above(rate: float) -> None:
    alpha, lives, looks = 0.05, 400, 60
    rng = np.random.default_rng(12)
    failed = rng.binomial(100, rate, (lives, looks)).cumsum(axis=1)
    bar = -np.log(alpha)
    crossed = sum(
        any(log_e_often(int(k), 100 * look, rate) >= bar for look, k in enumerate(life, 1))
        for life in failed
    )
    assert crossed <= binom.ppf(0.999, lives, alpha)


def test_a_canary_above_its_ceiling_is_found_and_one_failure_is_proof_where_none_may_be() -> None:
    assert log_e_often(10, 1000, 0.001) > np.log(1 / 0.005)
    assert log_e_often(1, 1000, 0.001) < np.log(1 / 0.005)
    assert log_e_often(0, 1000, 0.0) == 0.0
    assert log_e_often(1, 10, 0.0) > 100


@pytest.mark.parametrize("chance", [0.2, 0.5, 0.8])
def test_a_wager_on_gains_with_mean_zero_expects_one_at_every_length(chance: float) -> None:
    # All courses of up to 12 blocks, each a gain of `up` or a loss of at most the floor.
    floor, down = 0.08, 0.05
    up = down * (1 - chance) / chance
    for n in (1, 5, 12):
        wins = np.arange(n + 1)
        chances = np.array([math.comb(n, k) for k in wins]) * chance**wins
        chances = chances * (1 - chance) ** (n - wins)
        gains = np.where(np.arange(n) < wins[:, None], up, -down)
        assert chances @ np.exp(log_e_mean(gains, floor)) == pytest.approx(1.0)
        assert chances @ np.exp(log_e_mean(gains - 0.01, floor)) < 1.0


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.randoms())
def test_the_order_of_blocks_does_not_matter(gains: list[float], random: Random) -> None:
    mixed = gains.copy()
    random.shuffle(mixed)
    assert float(log_e_mean(mixed, 0.1)) == pytest.approx(float(log_e_mean(gains, 0.1)))


def test_one_block_takes_at_most_the_floor() -> None:
    assert float(log_e_mean([-1.0], 0.08)) == float(log_e_mean([-0.08], 0.08))
    assert float(log_e_mean([], 0.08)) == pytest.approx(0.0)


@given(st.lists(st.floats(-0.3, 0.3), min_size=12, max_size=40))
def test_the_ends_of_the_mean_are_where_the_wagers_are_won(differences: list[float]) -> None:
    found, alpha, floor = np.array(differences), 0.05, 0.08
    low, high = mean_bounds(found, alpha, floor=floor)
    bar = -math.log(alpha)
    if high is not None:
        assert float(log_e_mean(high + 1e-6 - found, floor)) >= bar
        assert float(log_e_mean(high - 1e-6 - found, floor)) < bar
    if low is not None:
        assert float(log_e_mean(found - (low - 1e-6), floor)) >= bar
    if low is not None and high is not None:
        assert low < high


def test_a_mean_is_unbounded_before_there_is_a_block() -> None:
    assert mean_bounds([], 0.05, floor=0.08) == (None, None)
