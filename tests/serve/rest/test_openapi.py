"""The port's own description: every address in it is answered, as it says."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.serve.conftest import Served
from tests.serve.made import Input, Sum, live

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: What is refused by design, or needs what this server has not: a background, classes, a folder.
REFUSED = {
    "unload",
    "delete /models/{model}",
    "post /models",
    "explain",
    "classify",
    "jobs",
    "async",
}


def document(served: Served) -> Any:
    status, found = served.get("/openapi.json")
    assert status == 200
    return found


def body_for(path: str, operation: Any) -> bytes:
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "examples" in media:
        return json.dumps(media["examples"]["m"]["value"]).encode()
    known: dict[str, Any] = {
        "labels": {"ids": ["a"], "labels": [1]},
        "predict": {"instances": [{"a": 1, "city": "Zürich"}]},
        "invo": {"inputs": {"a": [1], "city": ["Zürich"]}},
        "regress": {"examples": [{"a": 1, "city": "x"}]},
    }
    return json.dumps(next((v for k, v in known.items() if k in path), {})).encode()


def test_every_address_is_answered_as_it_says(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("city", "BYTES")])
    served.deploy(live())
    found = document(served)
    count = 0
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            where = path.format(model="m", version="1", job="job_1")
            body = body_for(path, operation) if method == "post" else b""
            status, raw, headers = served.exchange(method.upper(), where, body)
            said = f"{method} {path}: {status} {raw[:200]!r}"
            assert b"nothing answers" not in raw, said
            if not any(word in f"{method} {path}" for word in REFUSED):
                assert status == 200, said
            answers = operation["responses"]
            answer = answers.get(str(status)) or answers[f"{status // 100}XX"]
            media = answer["content"][headers["content-type"].partition(";")[0]]
            if headers["content-type"] == "application/json":
                schema = media["schema"] | {"components": found["components"]}
                Draft202012Validator(schema).validate(json.loads(raw))
            count += 1
    assert count > 40


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def test_another_method_at_an_address_is_told_which_it_takes(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("city", "BYTES")])
    served.deploy(live())
    for path, operations in document(served)["paths"].items():
        where = path.format(model="m", version="1", job="job_1")
        known = {method.upper() for method in operations}
        for method in METHODS:
            if method in known or (method == "HEAD" and "GET" in known):
                continue
            status, raw, headers = served.exchange(method, where)
            if status == 409:  # no jobs are taken here, by whatever method
                assert "/jobs" in path, (method, path, raw)
                continue
            assert status == 405, (method, path, raw)
            assert known <= set(headers["allow"].split(", ")), (method, path)
            assert b"it takes" in raw


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/m/versions/1/infer", "POST"),
        ("GET", "/v1/models/m/versions/1:predict", "POST"),
        ("GET", "/v1/models/m/labels/live:predict", "POST"),
        ("PUT", "/v2/models/m/", "GET, HEAD"),
        ("GET", "/models/m/invoke", "POST"),
    ],
)
def test_versions_in_an_address_take_the_same(
    served: Served, method: str, path: str, allowed: str
) -> None:
    served.deploy(live())
    status, _, headers = served.exchange(method, path)
    assert (status, headers["allow"]) == (405, allowed)


def test_what_is_no_address_takes_no_method(served: Served) -> None:
    status, _, headers = served.exchange("POST", "/v3/models/m/infer")
    assert status == 404
    assert "allow" not in headers


def test_models_are_named_with_a_request_that_fits_them(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("city", "BYTES")])
    served.deploy(live())
    infer = document(served)["paths"]["/v2/models/{model}/infer"]["post"]
    assert infer["parameters"][0]["schema"]["enum"] == ["m"]
    media = infer["requestBody"]["content"]["application/json"]
    assert served.post("/v2/models/m/infer", media["examples"]["m"]["value"])[0] == 200


def test_a_server_without_models_describes_itself_too(served: Served) -> None:
    found = document(served)
    assert found["openapi"] == "3.1.0"
    assert "no model" in found["info"]["description"]


def test_requests_are_valid_by_the_documents_own_schemas(served: Served) -> None:
    served.deploy(live())
    found = document(served)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    schema = {"$ref": "#/components/schemas/InferRequest", "components": found["components"]}
    check = Draft202012Validator(schema)
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [[1, 2]]}
    assert check.is_valid({"inputs": [tensor]})
    assert not check.is_valid({"inputs": [tensor | {"datatype": "FP99"}]})
    assert not check.is_valid({"inputs": [tensor | {"shape": [-1, 2]}]})
