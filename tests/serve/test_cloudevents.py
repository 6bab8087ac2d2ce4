"""Events in, events out, whatever protocol is inside."""

import json

import pytest

from .conftest import Served
from .made import live

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ASKED = {"instances": [[1, 2]]}
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "here",
    "type": "org.kubeflow.serving.inference.request",
}


@pytest.fixture
def m(served: Served) -> Served:
    served.deploy(live())
    return served


def test_an_event_in_headers_is_answered_by_one(m: Served) -> None:
    headers = [(f"ce-{name}".encode(), value.encode()) for name, value in EVENT.items()]
    status, body, told = m.exchange(
        "POST", "/v1/models/m:predict", json.dumps(ASKED).encode(), headers
    )
    assert (status, json.loads(body)) == (200, {"predictions": [3.0]})
    assert told["ce-id"] == "e-1"
    assert told["ce-specversion"] == "1.0"
    assert told["ce-type"] == "org.kubeflow.serving.inference.response"
    assert told["setpoint-prediction-id"].startswith("prd_")


def test_an_event_in_one_document_is_answered_by_one(m: Served) -> None:
    headers = [(b"content-type", b"application/cloudevents+json; charset=utf-8")]
    body = json.dumps({**EVENT, "data": ASKED}).encode()
    status, raw, told = m.exchange("POST", "/v1/models/m:predict", body, headers)
    event = json.loads(raw)
    assert (status, told["content-type"]) == (200, "application/cloudevents+json")
    assert (event["id"], event["data"]) == ("e-1", {"predictions": [3.0]})


def test_what_is_no_event_is_refused(m: Served) -> None:
    headers = [(b"content-type", b"application/cloudevents+json")]
    status, raw, _ = m.exchange("POST", "/v1/models/m:predict", b'{"data": {}}', headers)
    assert status == 400
    assert b"event" in raw
