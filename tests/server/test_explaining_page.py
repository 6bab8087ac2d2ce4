"""The page of a prediction says what made its score what it is, when it is asked."""

import json
from collections.abc import Iterator

import pytest
from tests.control.answered import Answers
from tests.server.conftest import serving
from tests.server.test_pages import check_page
from tests.server.web import ask

from setpoint.control.explaining import WhichPrediction, decimals, explained
from setpoint.db.local import LocalBackend
from setpoint.server.app import create_app


@pytest.fixture
def answers(backend: LocalBackend) -> Iterator[Answers]:
    made = Answers(backend)
    yield made
    made.writer.close()


def test_a_prediction_is_explained_when_somebody_asks(answers: Answers) -> None:
    answers.answered("order-1", [1.0, -2.0, 0.5])
    found = explained(answers.backend, WhichPrediction(id="order-1"))
    with serving(create_app(answers.backend)) as url:
        before = ask(url, "/why?id=order-1")
        after = ask(url, "/why?id=order-1&explain=yes")
        table = ask(url, "/why?id=order-1&explain=yes&format=json&table=contributions")
    for page in (before, after):
        check_page(page)
    assert "Explain the score" in before.text
    assert "Contribution" not in before.text
    assert "Explain the score" not in after.text
    assert "Answered by late/1" in after.text
    assert f"{found.explanation.score:+.{decimals(found)}f}" in after.text
    shares = json.loads(table.text)
    assert {each["input"] for each in shares} == {"distance", "gusts", "seats"}


def test_what_cannot_be_explained_says_why_on_the_page(answers: Answers) -> None:
    answers.registered("older", background=None)
    answers.answered("old", [1.0, -2.0, 0.5], model="older")
    with serving(create_app(answers.backend)) as url:
        page = ask(url, "/why?id=old&model=older&explain=yes")
    check_page(page)
    assert "no background was kept with this version" in page.text
    assert "train it again" in page.text


def test_only_predictions_have_scores_to_explain(answers: Answers) -> None:
    with serving(create_app(answers.backend)) as url:
        page = ask(url, "/why?id=late/1&explain=yes")
    check_page(page)
    assert "Explain the score" not in page.text
