import json

import pytest
from tests.server.web import ask, call

from setpoint.operations import OPERATIONS


def test_every_operation_is_an_endpoint_and_described(site: str) -> None:
    described = json.loads(ask(site, "/api/v1/openapi.json").body)
    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]) == {f"/api/v1/{name}" for name in OPERATIONS}


def test_the_description_refers_only_to_what_it_has(site: str) -> None:
    described = json.loads(ask(site, "/api/v1/openapi.json").body)
    text = json.dumps(described["paths"])
    used = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used
    assert used <= set(described["components"]["schemas"])


def test_an_operation_answers_json(site: str) -> None:
    answer = call(site, "models.ls")
    assert answer.status == 200
    assert json.loads(answer.body)["models"][0]["model"] == "flights-late"


def test_an_unknown_operation_is_a_problem_that_suggests_the_near_one(site: str) -> None:
    answer = call(site, "model.ls")
    problem = json.loads(answer.body)
    assert answer.status == problem["status"] == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:setpoint:error:not-found"
    assert problem["hint"] == "did you mean models.ls?"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"model": 1}', b'"\xff"', b"null", b'{"model": NaN}']
)
def test_a_command_that_cannot_be_read_says_which_fields_there_are(site: str, body: bytes) -> None:
    answer = call(site, "models.show", body)
    assert answer.status == 400
    assert "model" in json.loads(answer.body)["hint"]


def test_what_is_not_there_is_not_found_with_a_hint(site: str) -> None:
    answer = call(site, "models.show", b'{"model": "churn"}')
    assert answer.status == 404
    assert json.loads(answer.body)["hint"]


def test_a_body_that_is_too_large_is_refused(site: str) -> None:
    answer = call(site, "models.show", b'{"model": "' + b"x" * 5_000_000 + b'"}')
    assert answer.status == 413


def test_only_json_is_taken_so_that_no_foreign_form_can_call(site: str) -> None:
    headers = {"content-type": "text/plain"}
    answer = ask(site, "/api/v1/models.ls", method="POST", body=b"{}", headers=headers)
    assert answer.status == 403


def test_reading_an_operation_by_get_says_how_to_call_it(site: str) -> None:
    answer = ask(site, "/api/v1/models.ls", headers={})
    assert answer.status == 400
    assert "POST" in json.loads(answer.body)["detail"]
