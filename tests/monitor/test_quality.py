from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from scipy.stats import binom

from setpoint.monitor import quality
from setpoint.monitor.evidence import threshold
from setpoint.monitor.quality import QualityPolicy, QualityState, standing
from setpoint.profiles.joint import Joint, labelled, predicted
from setpoint.profiles.reference import DAY, build_reference

START = datetime(2026, 1, 1, tzinfo=UTC)
A = threshold(every=30 * 86_400, window=DAY)
RNG = np.random.default_rng(51)
SCORES = RNG.beta(2, 6, 5_000)
REFERENCE = build_reference({"x": [0.0]}, scores=SCORES, labels=RNG.random(5_000) < SCORES)
TARGET = 0.70


def day(rng: np.random.Generator, value: float, n: int = 600) -> Joint:
    """Return a day of labels whose AUC is `value` in the population (binormal scores)."""
    from scipy.stats import norm  # noqa: PLC0415

    apart = float(np.sqrt(2) * norm.ppf(value))
    truth = rng.random(n) < rng.uniform(0.13, 0.34)
    raw = rng.normal(truth * apart, 1)
    return labelled(norm.cdf((raw - 2) / 2), truth, REFERENCE)


def alarms(rng: np.random.Generator, value: float, days: int, spread: float) -> list[int]:
    policy = QualityPolicy(target=TARGET, threshold=A)
    state, found = quality.begin(since=START), []
    for at in range(days):
        today = day(rng, float(np.clip(value + rng.normal(0, spread), 0.5, 0.95)))
        end = START + timedelta(days=at + 1)
        state, verdict = quality.update(state, today, policy, end=end)
        assert verdict.judged
        if verdict.alarm:
            found.append(at + 1)
    return found


def test_a_model_on_target_alarms_within_the_budget_whatever_days_are_like() -> None:
    months = 60
    for spread in (0.0, 0.03):
        rng = np.random.default_rng(52)
        count = sum(len(alarms(rng, TARGET, 30, spread)) for _ in range(months))
        assert count <= binom.ppf(0.99, months * 30, 1 / A)


def test_a_model_that_lost_quality_is_found() -> None:
    for lost, days in ((0.02, 20), (0.05, 7), (0.10, 4)):
        rng = np.random.default_rng(53)
        first = [next(iter(alarms(rng, TARGET - lost, 60, 0.01)), 61) for _ in range(15)]
        assert np.median(first) <= days, (lost, first)


def test_a_better_model_never_alarms() -> None:
    rng = np.random.default_rng(54)
    assert sum(len(alarms(rng, TARGET + 0.03, 30, 0.01)) for _ in range(20)) == 0


def test_few_labels_wait() -> None:
    state = quality.begin(since=START)
    policy = QualityPolicy(target=TARGET)
    few = day(np.random.default_rng(55), 0.5, n=60)
    same, verdict = quality.update(state, few, policy, end=START + timedelta(days=1))
    assert same == state
    assert not verdict.judged


def test_lower_is_better_for_losses() -> None:
    rng = np.random.default_rng(56)
    policy = QualityPolicy(metric="brier", target=0.18, threshold=A)
    state = quality.begin(since=START)
    seen = []
    for at in range(10):
        scores = rng.beta(2, 6, 500)
        joint = labelled(scores, rng.random(500) < 1 - scores, REFERENCE)
        end = START + timedelta(days=at + 1)
        state, verdict = quality.update(state, joint, policy, end=end)
        seen.append(verdict.alarm)
    assert any(seen)


def test_a_state_survives_json() -> None:
    policy = QualityPolicy(target=TARGET)
    today = day(np.random.default_rng(57), 0.7)
    end = START + timedelta(days=1)
    state, _ = quality.update(quality.begin(since=START), today, policy, end=end)
    assert msgspec.json.decode(msgspec.json.encode(state), type=QualityState) == state


def test_an_objective_is_met_missed_or_open_by_its_interval() -> None:
    rng = np.random.default_rng(58)
    many = day(rng, 0.70, n=40_000)
    assert standing(many, "roc_auc", 0.66).verdict == "met"
    assert standing(many, "roc_auc", 0.74).verdict == "missed"
    found = standing(day(rng, 0.70, n=150), "roc_auc", 0.70)
    assert found.verdict == "open"
    assert standing(predicted([0.5], REFERENCE), "roc_auc", 0.7).verdict == "open"


def test_an_estimate_says_that_it_is_one() -> None:
    assert REFERENCE.joint is not None
    asked = predicted(RNG.beta(2, 6, 3_000), REFERENCE)
    found = quality.estimated(asked, REFERENCE.joint, "roc_auc", 0.6)
    assert found.estimated
    assert found.labels == 0
    assert found.verdict == "met"


def test_labels_are_reported_with_their_delay() -> None:
    scores = RNG.random(10)
    asked = predicted(scores, REFERENCE)
    came = labelled(scores[:4], [0, 1, 0, 1], REFERENCE, delays=[3600, 3600, 7200, 86_000])
    report = quality.labels(asked + came)
    assert (report.predictions, report.labels, report.coverage) == (10, 4, 0.4)
    assert (report.median_hours, report.late_hours) == (1.0, 24.0)


def test_the_target_is_the_promise_or_else_what_was_held_out() -> None:
    assert quality.target_of("roc_auc", reference=0.75, objective=0.68) == 0.68
    assert quality.target_of("roc_auc", reference=0.75, objective=None) == 0.73
    assert quality.target_of("log_loss", reference=0.5, objective=None) == 0.52
    assert quality.target_of("roc_auc", reference=None, objective=None) is None
