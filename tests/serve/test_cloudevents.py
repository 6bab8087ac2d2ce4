"""Events in, events out, whatever protocol is inside."""

import base64
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


def test_data_may_be_in_base_64(m: Served) -> None:
    headers = [(b"content-type", b"application/cloudevents+json")]
    data = base64.b64encode(json.dumps(ASKED).encode()).decode()
    body = json.dumps({**EVENT, "data_base64": data}).encode()
    status, raw, _ = m.exchange("POST", "/v1/models/m:predict", body, headers)
    assert (status, json.loads(raw)["data"]) == (200, {"predictions": [3.0]})


@pytest.mark.parametrize(("name", "value"), [("id", ""), ("specversion", "0.3")])
def test_an_event_in_headers_has_what_it_must(m: Served, name: str, value: str) -> None:
    event = {**EVENT, name: value}
    headers = [(f"ce-{name}".encode(), each.encode()) for name, each in event.items() if each]
    body = json.dumps(ASKED).encode()
    status, raw, _ = m.exchange("POST", "/v1/models/m:predict", body, headers)
    assert (status, b"ce-" in raw) == (400, True)
    assert m.logged() == []
