import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, f1_score, log_loss, roc_auc_score

from setpoint.errors import Invalid
from setpoint.profiles.joint import decode_joint, labelled, predicted
from setpoint.profiles.quality import calibration, estimate, measure
from setpoint.profiles.reference import build_reference

RNG = np.random.default_rng(11)
SCORES = RNG.beta(2, 6, 20_000)
TRUTH = (RNG.random(20_000) < SCORES).astype(float)
REFERENCE = build_reference({"x": [0.0]}, scores=SCORES, labels=TRUTH)
pairs = st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1])), max_size=40)


def test_quality_from_bins_is_close_to_exact() -> None:
    scores = RNG.beta(2, 4, 5_000)
    truth = (RNG.random(5_000) < scores).astype(int)
    joint = labelled(scores, truth, REFERENCE)
    answers = (scores >= 0.3).astype(int)
    exact = {
        "roc_auc": roc_auc_score(truth, scores),
        "log_loss": log_loss(truth, scores),
        "brier": brier_score_loss(truth, scores),
        "f1": f1_score(truth, answers),
        "accuracy": float((truth == answers).mean()),
    }
    for metric, value in exact.items():
        found = measure(joint, metric, threshold=0.3).value
        exactly = metric in {"f1", "accuracy"}  # 0.3 is a cut
        assert found == pytest.approx(value, abs=1e-12 if exactly else 3e-4), metric


@settings(deadline=None, max_examples=60)
@given(pairs, pairs)
def test_joint_histograms_add_subtract_and_survive_storage(
    a: list[tuple[float, int]], b: list[tuple[float, int]]
) -> None:
    one, two, both = (
        labelled([s for s, _ in p], [y for _, y in p], REFERENCE) for p in (a, b, a + b)
    )
    for sum_ in (one + two, two + one):
        assert (sum_.counts == both.counts).all()
        assert (sum_.sums == both.sums).all()
    back = decode_joint(((one + two) - two).encode())
    assert (back.counts == one.counts).all()
    assert (back.sums == one.sums).all()


def test_the_interval_of_auc_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(12)
    good, trials = 0, 400
    for _ in range(trials):
        scores = np.concatenate([rng.beta(2, 6, 300), rng.beta(3, 5, 80)])
        truth = np.repeat([0, 1], [300, 80])
        interval = measure(labelled(scores, truth, REFERENCE), "roc_auc").interval(0.95)
        assert interval is not None
        good += interval[0] <= 0.7092 <= interval[1]
    assert good / trials == pytest.approx(0.95, abs=0.03)  # 2.7 standard errors


def test_labels_that_come_late_are_added_where_they_were_asked() -> None:
    scores = [0.1, 0.9, 0.4, float("nan")]
    asked = predicted(scores, REFERENCE)
    assert (asked.predicted, asked.labelled, asked.coverage) == (4, 0, 0.0)
    answers = labelled([0.1, 0.9], [0, 1], REFERENCE, delays=[1800, 7200 * 4])
    both = asked + answers
    assert (both.labelled, both.positives, both.coverage) == (2, 1, 0.5)
    assert both.delay(0.5) == 0.5
    assert both.delay(0.99) == 8
    assert measure(asked, "roc_auc").value is None


def test_an_estimate_without_labels_is_near_the_truth_under_covariate_shift() -> None:
    rng = np.random.default_rng(13)
    scores = rng.beta(4, 4, 20_000)  # other inputs, same meaning
    truth = rng.random(20_000) < scores
    assert REFERENCE.joint is not None
    for metric in ("roc_auc", "accuracy", "log_loss"):
        guess = estimate(predicted(scores, REFERENCE), REFERENCE.joint, metric)
        known = measure(labelled(scores, truth, REFERENCE), metric)
        assert guess.value is not None
        assert known.value is not None
        assert abs(guess.value - known.value) < 4 * guess.se + 0.01


def test_estimates_follow_the_references_calibration_and_not_the_score() -> None:
    rng = np.random.default_rng(14)
    chance = rng.beta(2, 6, 20_000)
    overconfident = chance**0.5
    truth = rng.random(20_000) < chance
    reference = build_reference({"x": [0.0]}, scores=overconfident, labels=truth)
    assert reference.joint is not None
    guess = estimate(predicted(overconfident, reference), reference.joint, "accuracy")
    known = measure(labelled(overconfident, truth, reference), "accuracy")
    assert guess.value == pytest.approx(known.value, abs=0.01)


def test_calibration_error_is_small_for_honest_scores_and_not_for_others() -> None:
    honest = measure(labelled(SCORES, TRUTH, REFERENCE), "calibration_error")
    wrong = measure(labelled(SCORES / 2, TRUTH, REFERENCE), "calibration_error")
    assert honest.value is not None
    assert wrong.value is not None
    assert honest.value < 0.015
    assert wrong.value == pytest.approx(float(SCORES.mean()) / 2, abs=0.01)


def test_groups_of_scores_say_where_the_frequency_differs() -> None:
    honest = calibration(labelled(SCORES, TRUTH, REFERENCE))
    assert honest.rows.sum() == len(SCORES)
    assert (np.diff(honest.score) > 0).all()
    assert np.abs(honest.score - honest.positives).max() < 0.05
    halved = calibration(labelled(SCORES / 2, TRUTH, REFERENCE))
    assert np.allclose(halved.positives, 2 * halved.score, atol=0.06)
    assert not calibration(predicted(SCORES, REFERENCE)).rows.size


def test_an_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(Invalid) as caught:
        measure(labelled([0.5], [1], REFERENCE), "auc")
    assert "roc_auc" in caught.value.hint


def test_scores_need_a_reference_that_has_scores() -> None:
    with pytest.raises(Invalid, match="no scores"):
        predicted([0.5], build_reference({"x": [1.0, 2.0]}))
