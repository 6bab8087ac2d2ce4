"""A prediction is explained from the log by the version that answered it."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from tests.control.answered import LATE, ROWS, Answers

from setpoint.cli.explain_prediction import listing
from setpoint.control import explaining
from setpoint.control.explaining import WhichPrediction, decimals, explained, shares
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound, Unavailable
from setpoint.models.build import build


@pytest.fixture
def held(backend: LocalBackend) -> Iterator[Answers]:
    made = Answers(backend)
    yield made
    made.writer.close()


def ask(held: Answers, name: str, model: str | None = None) -> explaining.ExplainedPrediction:
    return explained(held.backend, WhichPrediction(id=name, model=model))


def test_base_and_contributions_add_up_to_what_was_answered(held: Answers) -> None:
    score = held.answered("order-1", [1.0, -2.0, 0.5])
    found = ask(held, "order-1")
    one = found.explanation
    assert (found.by, one.method, found.same_score) == ("late/1", "exact: trees", True)
    assert found.prediction.score == score
    assert one.base + sum(one.contributions) == pytest.approx(score, abs=1e-9)
    assert found.inputs == {"distance": 1.0, "gusts": -2.0, "seats": 0.5}


def test_what_a_baseline_answered_is_explained_by_it(held: Answers) -> None:
    score = held.answered("order-2", [1.0, -2.0, 0.5], role=2)
    found = ask(held, "order-2")
    assert found.by == "the baseline of late/1"
    assert found.explanation.method == "exact: linear"
    assert found.explanation.score == pytest.approx(score)


def test_a_score_that_is_not_given_again_is_told(held: Answers) -> None:
    held.answered("order-3", [1.0, -2.0, 0.5], scores=np.array([7.0]).tobytes())
    found = ask(held, "order-3")
    assert not found.same_score
    assert "not what was answered" in listing(found, 10)


def test_an_input_that_the_version_did_not_get_counts_as_missing(held: Answers) -> None:
    line = LinearRegression().fit(ROWS[:, :2].to_numpy(), LATE)
    stored = build(held.objects, line, ROWS[:, :2], kind="regression", rng=np.random.default_rng(1))
    held.registered("other", **msgspec.structs.asdict(stored))
    held.answered("x", [1.0, 2.0, 9.0], model="other", scores=np.array([0.3]).tobytes())
    found = ask(held, "x")
    assert list(found.inputs) == ["distance", "gusts"]  # what another arm took besides is left out


def test_an_id_that_several_models_have_needs_the_model(held: Answers) -> None:
    held.registered("other")
    held.answered("twice", [1.0, -2.0, 0.5])
    held.answered("twice", [1.0, 2.0, 0.5], model="other")
    with pytest.raises(Invalid, match="2 models have a prediction 'twice'"):
        ask(held, "twice")
    assert ask(held, "twice", "late").inputs["gusts"] == -2.0
    assert ask(held, "twice", "other").inputs["gusts"] == 2.0


def test_what_cannot_be_explained_says_why(held: Answers) -> None:
    with pytest.raises(NotFound, match="no prediction 'nobody'"):
        ask(held, "nobody")
    held.answered("unscored", [1.0, -2.0, 0.5], scores=np.array([np.nan]).tobytes())
    with pytest.raises(Conflict, match="has no score to explain"):
        ask(held, "unscored")
    held.registered("older", background=None)
    held.answered("old", [1.0, -2.0, 0.5], model="older")
    with pytest.raises(Conflict, match="no background was kept"):
        ask(held, "old")
    held.answered("gone", [1.0, -2.0, 0.5])
    for path in held.backend.settings.log.glob("*.seg"):
        path.unlink()
    with pytest.raises(NotFound, match="inputs of prediction 'gone' are not in the log"):
        ask(held, "gone")


def test_when_others_are_being_explained_one_is_told_to_come_again(held: Answers) -> None:
    held.answered("order-1", [1.0, -2.0, 0.5])
    taken = 0
    try:
        while explaining._room.acquire(blocking=False):
            taken += 1
        with pytest.raises(Unavailable, match="are being computed"):
            ask(held, "order-1")
    finally:
        for _ in range(taken):
            explaining._room.release()
    assert ask(held, "order-1").same_score


def test_the_listing_has_a_bar_an_input_and_adds_up(held: Answers) -> None:
    held.answered("order-1", [1.0, -2.0, 0.5])
    found = ask(held, "order-1")
    whole, short = listing(found, 10), listing(found, 1)
    assert "order-1: " in whole
    assert "answered by late/1" in whole
    assert "exact, from its structure (trees)" in whole
    for name, size, _ in shares(found, 3)[0]:
        (line,) = [each for each in whole.splitlines() if each.startswith(f"{name} ")]
        assert f"{size:+.{decimals(found)}f}" in line
        left, _, right = line.rpartition("│")
        assert ("█" in right) == (size > 0)
        assert ("█" in left) == (size < 0)
    assert "2 others" in short
    lines, rest = shares(found, 1)
    total = found.explanation.base + lines[0][1] + rest
    assert total == pytest.approx(found.explanation.score)
