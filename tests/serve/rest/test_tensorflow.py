"""TensorFlow Serving's REST API and KServe's V1: one address, both clients' fields."""

import base64
from typing import Any

import pytest
from tests.serve.conftest import Served
from tests.serve.made import Input, Sum, YesNo, canary, live, shadow

from setpoint.serve.entities import PredictionRecord

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PREDICT = "/v1/models/m:predict"


@pytest.fixture
def m(served: Served) -> Served:
    served.deploy(live())
    return served


def test_rows_come_as_arrays_or_as_objects_and_columns_as_arrays(m: Served) -> None:
    assert m.post(PREDICT, {"instances": [[1, 2], [3, 4]]}) == (200, {"predictions": [3.0, 7.0]})
    objects = [{"b": 2, "a": 1}, {"a": [3], "b": [4.5]}]
    assert m.post(PREDICT, {"instances": objects}) == (200, {"predictions": [3.0, 7.5]})
    columns = {"a": [1, 3], "b": [[2], [4]]}
    assert m.post(PREDICT, {"inputs": columns}) == (200, {"outputs": [3.0, 7.0]})
    assert m.post(PREDICT, {"inputs": [[1, 2]]}) == (200, {"outputs": [3.0]})
    assert m.post(PREDICT, {"instances": []}) == (200, {"predictions": []})
    rows = [record.ids for record in m.logged() if isinstance(record, PredictionRecord)]
    assert [len(ids) for ids in rows] == [2, 2, 2, 1]  # every one of them is in the log


def test_a_row_that_lacks_a_value_has_no_prediction(m: Served) -> None:
    answer = m.post(PREDICT, {"instances": [{"a": 1, "b": None}, {"a": 1, "b": 1}]})
    assert answer == (200, {"predictions": [None, 2.0]})


def test_the_answer_says_which_rows_and_which_version(m: Served) -> None:
    asked = b'{"instances": [[1, 2], [3, 4]], "parameters": {"ids": ["x", "y"]}}'
    status, _, headers = m.exchange("POST", PREDICT, asked)
    assert (status, headers["setpoint-prediction-id"]) == (200, "x,y")
    assert headers["setpoint-model-version"] == "1"
    assert m.logged()[0].ids == ["x", "y"]


def test_a_version_or_a_label_answers_all_rows(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.001))
    for path, wanted in (
        ("versions/1", 3.0),
        ("versions/2", 30.0),
        ("labels/live", 3.0),
        ("labels/canary", 30.0),
    ):
        answer = served.post(f"/v1/models/m/{path}:predict", {"instances": [[1, 2]] * 5})
        assert answer == (200, {"predictions": [wanted] * 5})
    logged = [record for record in served.logged() if isinstance(record, PredictionRecord)]
    assert [record.versions[0] for record in logged] == [1, 2, 1, 2]
    for path in ("versions/3", "labels/old", f"versions/{'9' * 30}"):
        status, answer = served.post(f"/v1/models/m/{path}:predict", {"instances": [[1, 2]]})
        assert status == 404
        assert "m" in answer["error"]


def test_a_shadow_answers_nobody(served: Served) -> None:
    served.deploy(live(1), shadow(2))
    status, answer = served.post("/v1/models/m/versions/2:predict", {"instances": [[1, 2]]})
    assert (status, "does not answer" in answer["error"]) == (404, True)
    assert served.logged() == []


def test_classes_and_values_of_examples(m: Served) -> None:
    asked = {"context": {"b": 0.25}, "examples": [{"a": 0.5}, {"a": 0.25, "b": 0.5}]}
    assert m.post("/v1/models/m:regress", asked) == (200, {"results": [0.75, 0.75]})
    status, answer = m.post("/v1/models/m:classify", asked)
    assert (status, "gives no probabilities" in answer["error"]) == (400, True)
    m.predictors[2] = YesNo()
    m.deploy(live(2))
    _, answer = m.post("/v1/models/m:classify", asked)
    assert answer["results"][0] == [["no", pytest.approx(0.925)], ["yes", pytest.approx(0.075)]]


def test_texts_may_be_in_base_64(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("t", "BYTES")])
    served.deploy(live())
    text = base64.b64encode("grün".encode()).decode()
    rows = [{"a": 1, "t": {"b64": text}}, {"a": 1, "t": "no"}]
    assert served.post(PREDICT, {"instances": rows}) == (200, {"predictions": [5.0, 3.0]})


def test_the_mark_of_base_64_may_be_written_in_escapes(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("t", "BYTES")])
    served.deploy(live())
    body = rb'{"instances": [{"a": 1, "t": {"\u0062\u0036\u0034": "Z3LDvG4="}}]}'
    status, _ = served.ask("POST", "/v1/models/m:predict", body)
    assert status == 200
    served.sync()
    record = served.logged()[-1]
    assert isinstance(record, PredictionRecord)
    assert record.texts == {"t": ["grün"]}


def test_a_models_state_is_there_for_both_clients(m: Served) -> None:
    _, state = m.get("/v1/models/m")
    assert (state["name"], state["ready"]) == ("m", True)  # KServe's
    (version,) = state["model_version_status"]  # TensorFlow's
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")
    assert m.get("/v1/models") == (200, {"models": ["m"]})
    _, metadata = m.get("/v1/models/m/metadata")
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"].keys() == {"a", "b"}
    assert signature["inputs"]["a"]["dtype"] == "DT_DOUBLE"
    assert m.get("/v1/models/m/versions/1")[0] == 200
    assert m.get("/v1/models/m/versions/7")[0] == 404
    assert m.get("/v1/models/other")[0] == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "instances"),
        ({"instances": [[1, 2]], "inputs": [[1, 2]]}, "either instances"),
        ({"instances": [[1, 2]], "signature_name": "other"}, "no signature"),
        ({"instances": [[1]]}, "a, b"),
        ({"instances": [[1, 2], [1]]}, "a, b"),
        ({"instances": [[1, 2], {"a": 1}]}, "a, b"),
        ({"instances": [{"a": 1, "b": 2}, [1, 2]]}, "row 1 is an array"),
        ({"instances": [1, 2]}, "row 0 is a number"),
        ({"instances": [{"a": 1, "c": 2}]}, "missing input 'b'"),
        ({"instances": [{"a": 1, "b": 2, "c": 2}]}, "unknown input 'c'"),
        ({"instances": [{"a": "x", "b": 2}]}, "row 0 is a text"),
        ({"instances": [{"a": [1, 2], "b": 2}]}, "row 0 is an array"),
        ({"instances": [{"a": {"b64": "!"}, "b": 2}]}, "b64"),
        ({"instances": {"a": 1}}, "an object"),
        ({"instances": "abc"}, "a text"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "differ"),
        ({"inputs": {"a": 1, "b": 2}}, "this is a number"),
        ({"instances": [[1, 2]], "parameters": {"ids": ["a", "b"]}}, "2 ids for 1 rows"),
        ({"instances": [{"a": 10**400, "b": 2}]}, ""),
    ],
)
def test_what_does_not_fit_is_refused_in_the_protocols_shape(
    m: Served, body: Any, said: str
) -> None:
    status, answer = m.post(PREDICT, body)
    assert status == 400
    assert answer.keys() == {"error"}
    assert said in answer["error"]
    assert m.logged() == []


def test_what_is_no_json_and_what_is_no_address(m: Served) -> None:
    assert m.ask("POST", PREDICT, b"{")[0] == 400
    assert m.ask("POST", PREDICT, b"[1]")[0] == 400
    for method, path, wanted in (
        ("POST", "/v1/models/m:other", 404),
        ("POST", "/v1/models/m", 405),
        ("GET", "/v1/models/m:predict", 405),
        ("GET", "/v1/other", 404),
        ("DELETE", "/v1/models/m", 405),
    ):
        status, answer = m.ask(method, path, b"{}" if method == "POST" else b"")
        assert (status, answer.keys()) == (wanted, {"error"})
